//! Updates the files of a working copy if no work of the user can be lost.

use super::objects::Tracking;
use super::{Reason, SyncOutcome};
use crate::client::git::{GitError, Head, Move, NotMoved, Watch, WorkingCopy};
use crate::model::source::{CommitId, ResolvedReference};

/// Completes a checkout by an xp that was killed while writing files, if nothing else changed since.
pub(super) fn finish_interrupted_move(
    working_copy: &WorkingCopy,
    tracking: &Tracking,
    resolved: &ResolvedReference,
    watch: &Watch<'_>,
) -> Result<(), GitError> {
    let Some(to) = working_copy.own_reference("moving") else {
        return Ok(());
    };
    if !working_copy.has_commit(to)
        || working_copy.operation_under_way().is_some()
        || !working_copy.is_halfway_to(to)?
    {
        return Ok(());
    }
    if let Ok((_, how)) = how_to_move(working_copy, tracking, resolved, working_copy.head()?) {
        // A lock left by the killed run is reported later.
        let _ = working_copy.move_head(to, &how, true, watch)?;
    }
    Ok(())
}

/// Updates the files to the commit, unless there is a reason not to.
pub(super) fn advance(
    working_copy: &WorkingCopy,
    tracking: &Tracking,
    before: Option<CommitId>,
    resolved: &ResolvedReference,
    watch: &Watch<'_>,
) -> Result<SyncOutcome, GitError> {
    let to = resolved.commit;
    if let Some(operation) = working_copy.operation_under_way() {
        return Ok(SyncOutcome::LeftAlone(Reason::UnderWay(operation)));
    }
    let head = working_copy.head()?;
    if matches!(&head, Head::Branch { commit, .. } | Head::Detached(commit) if *commit == to) {
        return Ok(SyncOutcome::UpToDate);
    }
    let (from, how) = match how_to_move(working_copy, tracking, resolved, head) {
        Ok(found) => found,
        Err(reason) => return Ok(SyncOutcome::LeftAlone(reason)),
    };
    let mut outcome = SyncOutcome::FastForwarded { from, to };
    if let Move::Branch { name, .. } = &how
        && !working_copy.is_ancestor(from, to)?
    {
        match relation(working_copy, tracking, before, from, to)? {
            BranchRelation::AtNewer => return Ok(SyncOutcome::UpToDate),
            BranchRelation::OwnCommits(reason) => return Ok(SyncOutcome::LeftAlone(reason)),
            BranchRelation::Rewritten => {
                working_copy.set_own_reference(&format!("before-rewrite/{name}"), from)?;
                outcome = SyncOutcome::FollowedRewrite { from, to };
            }
        }
    }
    let changes = working_copy.changes()?;
    if !changes.staged.is_empty() {
        return Ok(SyncOutcome::LeftAlone(Reason::Staged(changes.staged)));
    }
    if !changes.modified.is_empty() {
        return Ok(SyncOutcome::LeftAlone(Reason::Modified(changes.modified)));
    }
    Ok(match working_copy.move_head(to, &how, false, watch)? {
        Ok(()) => outcome,
        Err(NotMoved::InTheWay(files)) => SyncOutcome::LeftAlone(Reason::InTheWay(files)),
        Err(NotMoved::Locked) => SyncOutcome::LeftAlone(Reason::Locked),
    })
}

/// Returns from where and how `HEAD` would move, or why it must not.
fn how_to_move(
    working_copy: &WorkingCopy,
    tracking: &Tracking,
    resolved: &ResolvedReference,
    head: Head,
) -> Result<(CommitId, Move), Reason> {
    match (head, resolved.branch(), &tracking.remote) {
        (Head::Branch { .. }, Some(_), None) => Err(Reason::OtherRemote),
        (Head::Branch { name, commit }, Some(wanted), Some(remote))
            if working_copy.branch_follows(&name, Some(remote), wanted) =>
        {
            Ok((commit, Move::Branch { name, from: commit }))
        }
        (Head::Branch { name, .. }, ..) => Err(Reason::OtherBranch { current: name }),
        (Head::Detached(commit), wanted, remote)
            if working_copy.own_reference("head") == Some(commit) =>
        {
            Ok((
                commit,
                match (wanted, remote) {
                    (Some(wanted), Some(remote)) if !working_copy.has_branch(wanted) => {
                        Move::NewBranch {
                            name: wanted.to_owned(),
                            remote: remote.clone(),
                        }
                    }
                    (Some(wanted), Some(remote)) => {
                        back_to_branch(working_copy, wanted, remote, resolved.commit)
                            .unwrap_or(Move::Detached)
                    }
                    _ => Move::Detached,
                },
            ))
        }
        (Head::Detached(_) | Head::Unborn, ..) => Err(Reason::Detached),
    }
}

/// Returns how `HEAD` returns to the branch that it was detached from, if that branch tracks the wanted one
/// and has no commits of its own.
fn back_to_branch(
    working_copy: &WorkingCopy,
    branch: &str,
    remote: &str,
    to: CommitId,
) -> Option<Move> {
    let from = working_copy.reference(&format!("refs/heads/{branch}"))?;
    let is_free = working_copy.branch_follows(branch, Some(remote), branch)
        && working_copy.is_ancestor(from, to).unwrap_or(false);
    is_free.then(|| Move::Return {
        name: branch.to_owned(),
        from,
    })
}

/// How a branch relates to a commit that it cannot be fast-forwarded to.
enum BranchRelation {
    /// It is at a newer commit of the remote, fetched after the reference was resolved.
    AtNewer,
    /// It is at a former commit of the remote's branch that is no longer in its history.
    Rewritten,
    /// It has commits that the remote never had.
    OwnCommits(Reason),
}

fn relation(
    working_copy: &WorkingCopy,
    tracking: &Tracking,
    before: Option<CommitId>,
    from: CommitId,
    to: CommitId,
) -> Result<BranchRelation, GitError> {
    let now = tracking.commit(working_copy);
    if let Some(now) = now
        && working_copy.is_ancestor(from, now)?
    {
        return Ok(BranchRelation::AtNewer);
    }
    let once_there = before == Some(from)
        || tracking
            .reference
            .as_ref()
            .is_some_and(|name| working_copy.reference_once_was(name, from));
    if now == Some(to) && once_there {
        return Ok(BranchRelation::Rewritten);
    }
    let (ahead, behind) = working_copy.ahead_and_behind(from, to)?;
    Ok(BranchRelation::OwnCommits(if behind == 0 {
        Reason::Unpushed(ahead)
    } else {
        Reason::Diverged { ahead, behind }
    }))
}
