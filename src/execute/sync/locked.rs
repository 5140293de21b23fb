//! Checks out locked commits in a working copy.

use super::in_use_note::InUseNote;
use super::objects::{Tracking, fetch_missing, unshallow};
use super::{NotUpdatedReason, SyncError, SyncOutcome, SyncRequest};
use crate::client::git::{
    DETACHED_AT, GitClient, GitError, Head, Move, NotMoved, Opened, OperationContext, WorkingCopy,
};
use crate::model::manifest::ServiceName;
use crate::model::source::{CommitId, PathSelection, ResolvedReference};

/// The locked commit of one of the services in a working copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockedCommit {
    pub service: ServiceName,
    pub commit: CommitId,
    /// The files of the service.
    pub selection: PathSelection,
}

/// Ensures that a commit is in the working copy's object store, and checks it out with a detached `HEAD` if no local
/// changes can be lost: if `HEAD` is on the branch that the commit was locked on, without local commits, or was
/// detached by xp before. The branch is not moved. Blocks.
///
/// `all` are the locked commits of every service in the same working copy, including `own`. The commit that has
/// all others in its history is checked out; if the files of a service differ there from those of its own
/// commit, the outcome is [`NotUpdatedReason::LockedApart`].
///
/// # Errors
///
/// As for [`super::sync`].
pub fn check_out_locked(
    client: &GitClient,
    request: &SyncRequest<'_>,
    own: &LockedCommit,
    all: &[LockedCommit],
    watch: &OperationContext<'_>,
) -> Result<SyncOutcome, SyncError> {
    let _note = InUseNote::begin(request.staging_dir, request.dir);
    let is_new = matches!(WorkingCopy::open(request.dir)?, Opened::Nothing);
    for commit in std::iter::once(own.commit).chain(all.iter().map(|locked| locked.commit)) {
        // Its branch may have moved, so the commit itself is requested.
        let bare = ResolvedReference { commit, name: None };
        let by_itself = SyncRequest {
            resolved: &bare,
            commit,
            ..*request
        };
        fetch_missing(client, &by_itself, watch)?;
    }
    // A shallow history may end between the commits, and then hides how they relate.
    if all.iter().any(|locked| locked.commit != own.commit)
        && let Opened::WorkingCopy(working_copy) = WorkingCopy::open(request.dir)?
        && working_copy.is_shallow()
    {
        unshallow(client, request, watch)?;
    }
    let Opened::WorkingCopy(working_copy) = WorkingCopy::open(request.dir)? else {
        let dir = request.dir.to_owned();
        return Err(SyncError::OtherFiles { dir });
    };
    let newest = match newest(&working_copy, own, all)? {
        Ok(newest) => newest,
        Err(reason) => return Ok(SyncOutcome::NotUpdated(reason)),
    };
    let to = newest.commit;
    let remote = working_copy.remote_of(client, request.url);
    let tracking = Tracking::of(&working_copy, remote, request.resolved);
    let target = ResolvedReference {
        commit: to,
        name: request.resolved.name.clone(),
    };
    let outcome = check_out(&working_copy, &tracking, &target, watch)?;
    Ok(match outcome {
        SyncOutcome::NotUpdated(_) => outcome,
        _ if !has_files_of(&working_copy, to, own) => {
            SyncOutcome::NotUpdated(diverged(own, newest))
        }
        _ if is_new => SyncOutcome::Cloned,
        _ => outcome,
    })
}

/// Returns the service whose commit has all others in its history, or two services without such a commit.
fn newest<'l>(
    working_copy: &WorkingCopy,
    own: &'l LockedCommit,
    all: &'l [LockedCommit],
) -> Result<Result<&'l LockedCommit, NotUpdatedReason>, GitError> {
    let mut newest = own;
    for other in all {
        if working_copy.is_ancestor(newest.commit, other.commit)? {
            newest = other;
        } else if !working_copy.is_ancestor(other.commit, newest.commit)? {
            return Ok(Err(diverged(newest, other)));
        }
    }
    Ok(Ok(newest))
}

/// Returns whether the files of a service in a descendant of its locked commit are those of the locked commit.
fn has_files_of(working_copy: &WorkingCopy, checked_out: CommitId, own: &LockedCommit) -> bool {
    checked_out == own.commit
        || !own.selection.is_whole()
            && !working_copy.differs_in(&own.selection, own.commit, checked_out)
}

fn diverged(one: &LockedCommit, other: &LockedCommit) -> NotUpdatedReason {
    let mut services = [one, other].map(|locked| (locked.service.clone(), locked.commit));
    services.sort();
    NotUpdatedReason::LockedApart(services)
}

fn check_out(
    working_copy: &WorkingCopy,
    tracking: &Tracking,
    resolved: &ResolvedReference,
    watch: &OperationContext<'_>,
) -> Result<SyncOutcome, GitError> {
    let to = resolved.commit;
    if let Some(operation) = working_copy.operation_in_progress() {
        return Ok(SyncOutcome::NotUpdated(NotUpdatedReason::InProgress(
            operation,
        )));
    }
    // A checkout by an xp that was killed while writing files.
    let is_halfway = working_copy.interrupted_move()? == Some(to);
    let from = match working_copy.head()? {
        Head::Branch { commit, .. } | Head::Detached(commit) if commit == to => {
            return Ok(SyncOutcome::UpToDate);
        }
        head => match leave(working_copy, tracking, resolved, head)? {
            Ok(from) => from,
            Err(reason) => return Ok(SyncOutcome::NotUpdated(reason)),
        },
    };
    if !is_halfway {
        let changes = working_copy.changes()?;
        if !changes.staged.is_empty() {
            return Ok(SyncOutcome::NotUpdated(NotUpdatedReason::Staged(
                changes.staged,
            )));
        }
        if !changes.modified.is_empty() {
            return Ok(SyncOutcome::NotUpdated(NotUpdatedReason::Modified(
                changes.modified,
            )));
        }
    }
    let moved = working_copy.move_head(to, &Move::Detached, is_halfway, watch)?;
    Ok(match moved {
        Ok(()) => SyncOutcome::FastForwarded { from, to },
        Err(NotMoved::InTheWay(files)) => {
            SyncOutcome::NotUpdated(NotUpdatedReason::InTheWay(files))
        }
        Err(NotMoved::Locked) => SyncOutcome::NotUpdated(NotUpdatedReason::Locked),
    })
}

/// Returns the commit that `HEAD` may leave, or why it must not.
fn leave(
    working_copy: &WorkingCopy,
    tracking: &Tracking,
    resolved: &ResolvedReference,
    head: Head,
) -> Result<Result<CommitId, NotUpdatedReason>, GitError> {
    let (name, commit) = match head {
        Head::Branch { name, commit } => (name, commit),
        Head::Detached(commit) if working_copy.xp_reference_commit(DETACHED_AT) == Some(commit) => {
            return Ok(Ok(commit));
        }
        Head::Detached(_) | Head::Unborn => return Ok(Err(NotUpdatedReason::Detached)),
    };
    let (Some(remote), Some(wanted)) = (&tracking.remote, resolved.branch()) else {
        return Ok(Err(match tracking.remote {
            None => NotUpdatedReason::OtherRemote,
            Some(_) => NotUpdatedReason::OtherBranch { current: name },
        }));
    };
    if !working_copy.branch_tracks(&name, Some(remote), wanted) {
        return Ok(Err(NotUpdatedReason::OtherBranch { current: name }));
    }
    // Without a known remote branch, unpushed commits cannot be detected.
    let Some(known) = tracking.commit(working_copy) else {
        return Ok(Err(NotUpdatedReason::OtherBranch { current: name }));
    };
    if working_copy.is_ancestor(commit, known)? {
        return Ok(Ok(commit));
    }
    let (ahead, _) = working_copy.ahead_and_behind(commit, known)?;
    Ok(Err(NotUpdatedReason::Unpushed(ahead)))
}
