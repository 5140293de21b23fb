//! Working copies: cloned when they are needed, fetched when the remote moved, and moved along only
//! where nothing of the user's can be lost.
//!
//! A working copy is the user's, and holds the only object store. So after [`sync`] has returned
//! `Ok`, the commit is in the object store, whatever became of the files: builds use an export.
//!
//! What is moved along: a branch that follows the wanted one, and a `HEAD` that xp itself detached
//! (`refs/xp/head` remembers where). What stops it: changes, staged or not; untracked or ignored
//! files in the way; commits that the remote does not have; another branch; a `HEAD` that the user
//! detached; a merge, rebase or the like under way; files that cannot be written. Where the remote's history was rewritten, a
//! branch without commits of its own (it stands where the remote's branch once stood) follows,
//! and `refs/xp/before-rewrite/<branch>` keeps the old commits; any other branch stays.
//!
//! A locked commit is checked out without a branch ([`check_out_locked`]), under the same rule.

mod advance;
mod at_work;
mod locked;
mod objects;
mod outcome;
mod staging;
#[cfg(test)]
mod tests;

use std::path::Path;

pub use locked::{LockedCommit, check_out_locked};
pub use objects::{fetch_missing, fetch_objects, fetch_whole_history};
pub use outcome::{Reason, SyncError, SyncOutcome};

use crate::client::git::{GitClient, Watch};
use crate::error::chain;
use crate::source::{CommitId, GitUrl, ResolvedReference};
use advance::{advance, finish_interrupted_move};
use at_work::AtWork;
use objects::bring;

/// A working copy, and what it should have.
#[derive(Debug, Clone, Copy)]
pub struct SyncRequest<'a> {
    /// The working copy's folder; it need not exist.
    pub dir: &'a Path,
    /// A folder of xp's own for clones that are not complete yet, and for notes of what is worked in.
    pub staging_dir: &'a Path,
    /// The manifest's remote.
    pub url: &'a GitUrl,
    /// What the manifest's reference stands for in the remote.
    pub resolved: &'a ResolvedReference,
    /// What is built of it: its commit, or an earlier one.
    pub commit: CommitId,
    /// Whether the files may be moved along.
    pub moves: bool,
}

/// Makes sure that a commit is in the working copy's object store, and moves the files along where
/// that is safe. Blocks; needs no connection where the commit is there and the remote's branch known.
///
/// Used by `xp sync` and before a build alike: the latter only cares that it returns `Ok`.
///
/// # Errors
///
/// The place is taken by something else, the remote fails, or the object store cannot be written.
/// Nothing of the user's has been touched then.
pub fn sync(
    client: &GitClient,
    request: &SyncRequest<'_>,
    watch: &Watch<'_>,
) -> Result<SyncOutcome, SyncError> {
    let _at_work = AtWork::begin(request.staging_dir, request.dir);
    let Some((working_copy, tracking, before)) = bring(client, request, watch)? else {
        return Ok(SyncOutcome::Cloned);
    };
    if !request.moves {
        return Ok(SyncOutcome::LeftAlone(Reason::BuiltInPlace));
    }
    // The commit is in the object store, which is all that a build needs: what fails now, such as
    // writing a file of another user, concerns the working copy alone.
    let moved = finish_interrupted_move(&working_copy, &tracking, request.resolved, watch)
        .and_then(|()| advance(&working_copy, &tracking, before, request.resolved, watch));
    Ok(moved.unwrap_or_else(|error| {
        let why = chain(&error).replace("\n  cause", "");
        SyncOutcome::LeftAlone(Reason::Failed(why))
    }))
}
