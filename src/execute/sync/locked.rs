//! A locked commit in a working copy.

use super::objects::{Tracking, fetch_missing};
use super::{Reason, SyncError, SyncOutcome, SyncRequest};
use crate::client::git::{GitClient, GitError, Head, Move, NotMoved, Opened, Watch, WorkingCopy};
use crate::source::{CommitId, ResolvedReference};

/// Makes sure that a commit is in the working copy's object store, and checks it out without a branch
/// where nothing of the user's can be lost: from the branch that the commit was locked on, if that has no
/// commits of its own, and from where xp detached `HEAD` before. The branch stays where it is. Blocks.
///
/// `others` are the locked commits of the other services in the same working copy: what is checked out is
/// the one with all others in its history, whose files are those of all of them.
///
/// # Errors
///
/// As for [`super::sync`].
pub fn check_out_locked(
    client: &GitClient,
    request: &SyncRequest<'_>,
    others: &[CommitId],
    watch: &Watch<'_>,
) -> Result<SyncOutcome, SyncError> {
    let is_new = matches!(WorkingCopy::open(request.dir)?, Opened::Nothing);
    let own = request.resolved.commit;
    let commits: Vec<CommitId> = std::iter::once(own).chain(others.iter().copied()).collect();
    for commit in &commits {
        // Its branch may be somewhere else by now, so it is asked for by itself.
        let bare = ResolvedReference {
            commit: *commit,
            name: None,
        };
        let by_itself = SyncRequest {
            resolved: &bare,
            commit: *commit,
            ..*request
        };
        fetch_missing(client, &by_itself, watch)?;
    }
    let Opened::WorkingCopy(working_copy) = WorkingCopy::open(request.dir)? else {
        let dir = request.dir.to_owned();
        return Err(SyncError::OtherFiles { dir });
    };
    let Some(to) = newest(&working_copy, &commits)? else {
        let why = "services in it are locked at commits of different histories";
        return Ok(SyncOutcome::LeftAlone(Reason::Failed(why.to_owned())));
    };
    let remote = working_copy.remote_of(client, request.url);
    let tracking = Tracking::of(&working_copy, remote, request.resolved);
    let target = ResolvedReference {
        commit: to,
        name: request.resolved.name.clone(),
    };
    let outcome = check_out(&working_copy, &tracking, &target, watch)?;
    Ok(match outcome {
        SyncOutcome::LeftAlone(_) => outcome,
        _ if is_new => SyncOutcome::Cloned,
        _ => outcome,
    })
}

/// Returns the commit that has all the others in its history.
fn newest(working_copy: &WorkingCopy, commits: &[CommitId]) -> Result<Option<CommitId>, GitError> {
    'commits: for commit in commits {
        for other in commits {
            if !working_copy.is_ancestor(*other, *commit)? {
                continue 'commits;
            }
        }
        return Ok(Some(*commit));
    }
    Ok(None)
}

fn check_out(
    working_copy: &WorkingCopy,
    tracking: &Tracking,
    resolved: &ResolvedReference,
    watch: &Watch<'_>,
) -> Result<SyncOutcome, GitError> {
    let to = resolved.commit;
    if let Some(operation) = working_copy.operation_under_way() {
        return Ok(SyncOutcome::LeftAlone(Reason::UnderWay(operation)));
    }
    let from = match working_copy.head()? {
        Head::Branch { commit, .. } | Head::Detached(commit) if commit == to => {
            return Ok(SyncOutcome::UpToDate);
        }
        head => match leave(working_copy, tracking, resolved, head)? {
            Ok(from) => from,
            Err(reason) => return Ok(SyncOutcome::LeftAlone(reason)),
        },
    };
    // A move of xp's own that was killed while it wrote files.
    let is_halfway = match working_copy.own_reference("moving") {
        Some(moving) if moving == to => working_copy.is_halfway_to(to)?,
        _ => false,
    };
    if !is_halfway {
        let changes = working_copy.changes()?;
        if !changes.staged.is_empty() {
            return Ok(SyncOutcome::LeftAlone(Reason::Staged(changes.staged)));
        }
        if !changes.modified.is_empty() {
            return Ok(SyncOutcome::LeftAlone(Reason::Modified(changes.modified)));
        }
    }
    let moved = working_copy.move_head(to, &Move::Detached, is_halfway, watch)?;
    Ok(match moved {
        Ok(()) => SyncOutcome::FastForwarded { from, to },
        Err(NotMoved::InTheWay(files)) => SyncOutcome::LeftAlone(Reason::InTheWay(files)),
        Err(NotMoved::Locked) => SyncOutcome::LeftAlone(Reason::Locked),
    })
}

/// Returns the commit that `HEAD` may leave, or why it is to stay.
fn leave(
    working_copy: &WorkingCopy,
    tracking: &Tracking,
    resolved: &ResolvedReference,
    head: Head,
) -> Result<Result<CommitId, Reason>, GitError> {
    let (name, commit) = match head {
        Head::Branch { name, commit } => (name, commit),
        Head::Detached(commit) if working_copy.own_reference("head") == Some(commit) => {
            return Ok(Ok(commit));
        }
        Head::Detached(_) | Head::Unborn => return Ok(Err(Reason::Detached)),
    };
    let (Some(remote), Some(wanted)) = (&tracking.remote, resolved.branch()) else {
        return Ok(Err(match tracking.remote {
            None => Reason::OtherRemote,
            Some(_) => Reason::OtherBranch { current: name },
        }));
    };
    if !working_copy.branch_follows(&name, Some(remote), wanted) {
        return Ok(Err(Reason::OtherBranch { current: name }));
    }
    // It would still be on its branch, but out of sight.
    let Some(known) = tracking.commit(working_copy) else {
        return Ok(Err(Reason::OtherBranch { current: name }));
    };
    if working_copy.is_ancestor(commit, known)? {
        return Ok(Ok(commit));
    }
    let (ahead, _) = working_copy.ahead_and_behind(commit, known)?;
    Ok(Err(Reason::Unpushed(ahead)))
}
