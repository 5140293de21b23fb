//! Updates the files of a working copy if no local changes can be lost.

use super::objects::Tracking;
use super::{NotUpdatedReason, SyncOutcome};
use crate::client::git::{
    DETACHED_AT, GitError, Head, Move, NotMoved, OperationContext, WorkingCopy,
};
use crate::model::source::{CommitId, ResolvedReference};

/// Completes a checkout by an xp that was killed while writing files, if nothing else changed since.
pub(super) fn finish_interrupted_move(
    working_copy: &WorkingCopy,
    tracking: &Tracking,
    resolved: &ResolvedReference,
    watch: &OperationContext<'_>,
) -> Result<(), GitError> {
    let Some(to) = working_copy.interrupted_move()? else {
        return Ok(());
    };
    if let Ok((from, how)) = how_to_move(working_copy, tracking, resolved, working_copy.head()?) {
        let is_rewrite = matches!(&how, Move::Branch { name, .. }
            if working_copy.xp_reference_commit(&format!("before-rewrite/{name}")) == Some(from));
        let is_update =
            to == resolved.commit || is_rewrite || working_copy.is_ancestor(from, to)?;
        // A move to an older commit, such as a locked one, left the branch where it was.
        let how = if is_update { how } else { Move::Detached };
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
    watch: &OperationContext<'_>,
) -> Result<SyncOutcome, GitError> {
    let to = resolved.commit;
    if let Some(operation) = working_copy.operation_in_progress() {
        return Ok(SyncOutcome::NotUpdated(NotUpdatedReason::InProgress(
            operation,
        )));
    }
    let head = working_copy.head()?;
    if matches!(&head, Head::Branch { commit, .. } | Head::Detached(commit) if *commit == to) {
        return Ok(SyncOutcome::UpToDate);
    }
    let (from, how) = match how_to_move(working_copy, tracking, resolved, head) {
        Ok(found) => found,
        Err(reason) => return Ok(SyncOutcome::NotUpdated(reason)),
    };
    let mut outcome = SyncOutcome::FastForwarded { from, to };
    if let Move::Branch { name, .. } = &how
        && !working_copy.is_ancestor(from, to)?
    {
        match relation(working_copy, tracking, before, from, to)? {
            BranchRelation::AtNewer => return Ok(SyncOutcome::UpToDate),
            BranchRelation::OwnCommits(reason) => return Ok(SyncOutcome::NotUpdated(reason)),
            BranchRelation::Rewritten => {
                working_copy.set_xp_reference(&format!("before-rewrite/{name}"), from)?;
                outcome = SyncOutcome::FollowedRewrite { from, to };
            }
        }
    }
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
    Ok(match working_copy.move_head(to, &how, false, watch)? {
        Ok(()) => outcome,
        Err(NotMoved::InTheWay(files)) => {
            SyncOutcome::NotUpdated(NotUpdatedReason::InTheWay(files))
        }
        Err(NotMoved::Locked) => SyncOutcome::NotUpdated(NotUpdatedReason::Locked),
    })
}

/// Returns from where and how `HEAD` would move, or why it must not.
fn how_to_move(
    working_copy: &WorkingCopy,
    tracking: &Tracking,
    resolved: &ResolvedReference,
    head: Head,
) -> Result<(CommitId, Move), NotUpdatedReason> {
    match (head, resolved.branch(), &tracking.remote) {
        (Head::Branch { .. }, Some(_), None) => Err(NotUpdatedReason::OtherRemote),
        (Head::Branch { name, commit }, Some(wanted), Some(remote))
            if working_copy.branch_tracks(&name, Some(remote), wanted) =>
        {
            Ok((commit, Move::Branch { name, from: commit }))
        }
        (Head::Branch { name, .. }, ..) => Err(NotUpdatedReason::OtherBranch { current: name }),
        (Head::Detached(commit), wanted, remote)
            if working_copy.xp_reference_commit(DETACHED_AT) == Some(commit) =>
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
        (Head::Detached(_) | Head::Unborn, ..) => Err(NotUpdatedReason::Detached),
    }
}

/// Returns how `HEAD` returns to the branch that it was detached from, if that branch tracks the wanted one and has no
/// local commits.
fn back_to_branch(
    working_copy: &WorkingCopy,
    branch: &str,
    remote: &str,
    to: CommitId,
) -> Option<Move> {
    let from = working_copy.reference(&format!("refs/heads/{branch}"))?;
    let is_free = working_copy.branch_tracks(branch, Some(remote), branch)
        && working_copy.is_ancestor(from, to).unwrap_or(false);
    is_free.then(|| Move::ReturnToBranch {
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
    OwnCommits(NotUpdatedReason),
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
            .is_some_and(|name| working_copy.reflog_contains(name, from));
    if now == Some(to) && once_there {
        return Ok(BranchRelation::Rewritten);
    }
    let (ahead, behind) = working_copy.ahead_and_behind(from, to)?;
    Ok(BranchRelation::OwnCommits(if behind == 0 {
        NotUpdatedReason::Unpushed(ahead)
    } else {
        NotUpdatedReason::Diverged { ahead, behind }
    }))
}
