//! Working copies: cloned when needed, fetched when the remote moved, and updated only if no local changes can be lost.
//!
//! A working copy belongs to the user, and contains the only object store. After [`sync`] returns `Ok`, the
//! commit is in the object store even if the files were not updated: builds use an export.
//!
//! xp updates a branch that tracks the wanted one, and a `HEAD` that xp itself detached (recorded in `refs/worktree/xp/head`). A
//! working copy is not updated if it has changes, staged or not, unpushed commits, or untracked or ignored files in the
//! way; if it is on another branch, or the user detached its `HEAD`; if a merge, rebase or similar is in progress; or
//! if files cannot be written. If the remote's history was rewritten, a branch without local commits (at a former
//! commit of the remote's branch) follows, and `refs/xp/before-rewrite/<branch>` keeps the old commits; any other
//! branch stays.
//!
//! A locked commit is checked out with a detached `HEAD` ([`check_out_locked`]), under the same rules.

mod advance;
mod in_use_note;
mod locked;
mod objects;
mod outcome;
mod staging;
#[cfg(test)]
mod tests;

use std::path::Path;

pub use locked::{LockedCommit, check_out_locked};
pub use objects::{fetch_missing, fetch_objects, unshallow};
pub use outcome::{NotUpdatedReason, SyncError, SyncOutcome};

use crate::base::error::chain;
use crate::client::git::{GitClient, OperationContext};
use crate::model::source::{CommitId, GitUrl, ResolvedReference};
use advance::{advance, finish_interrupted_move};
use in_use_note::InUseNote;
use objects::ensure_present;

/// A working copy and the commit that it needs.
#[derive(Debug, Clone, Copy)]
pub struct SyncRequest<'a> {
    /// The working copy's folder; it need not exist.
    pub dir: &'a Path,
    /// xp's own folder for incomplete clones, and for notes about working copies in use.
    pub staging_dir: &'a Path,
    /// The manifest's remote.
    pub url: &'a GitUrl,
    /// The manifest's reference, resolved in the remote.
    pub resolved: &'a ResolvedReference,
    /// The commit to build: that of the reference, or an earlier one.
    pub commit: CommitId,
    /// Whether the files may be updated.
    pub moves: bool,
}

/// Ensures that a commit is in the working copy's object store, and updates the files if that is safe. Blocks;
/// needs no connection if the commit is there and the remote's branch is known.
///
/// Used by `xp sync` and before a build, which only needs the `Ok`.
///
/// # Errors
///
/// If the path is taken by something else, the remote fails, or the object store cannot be written. Then none of
/// the user's files were changed.
pub fn sync(
    client: &GitClient,
    request: &SyncRequest<'_>,
    watch: &OperationContext<'_>,
) -> Result<SyncOutcome, SyncError> {
    let _note = InUseNote::begin(request.staging_dir, request.dir);
    let Some((working_copy, tracking, before)) = ensure_present(client, request, watch)? else {
        return Ok(SyncOutcome::Cloned);
    };
    if !request.moves {
        return Ok(SyncOutcome::NotUpdated(NotUpdatedReason::BuiltInPlace));
    }
    // The commit is in the object store, which is all that a build needs: a failure from here on, such as
    // writing a file of another user, affects only the working copy.
    let moved = finish_interrupted_move(&working_copy, &tracking, request.resolved, watch)
        .and_then(|()| advance(&working_copy, &tracking, before, request.resolved, watch));
    Ok(moved.unwrap_or_else(|error| {
        let why = chain(&error).replace("\n  cause", "");
        SyncOutcome::NotUpdated(NotUpdatedReason::Failed(why))
    }))
}
