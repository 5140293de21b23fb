//! Queries about commits.

use crate::client::git::worktree::working_copy::oid;
use crate::client::git::{GitError, WorkingCopy};
use crate::model::source::CommitId;

/// Facts about a commit for an image's labels and a builder's environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitFacts {
    /// The committer time in seconds since 1970: `SOURCE_DATE_EPOCH`.
    pub committer_time: i64,
}

impl WorkingCopy {
    /// Returns the facts about a commit.
    ///
    /// # Errors
    ///
    /// The commit is not in the object store.
    pub fn commit_facts(&self, commit: CommitId) -> Result<CommitFacts, GitError> {
        let missing = |cause| self.failed(&format!("find commit {commit}"), cause);
        let commit = oid(commit)
            .and_then(|id| self.repository.find_commit(id))
            .map_err(missing)?;
        Ok(CommitFacts {
            committer_time: commit.committer().when().seconds(),
        })
    }

    /// Returns whether a commit is the other one or an ancestor of it.
    ///
    /// # Errors
    ///
    /// One of them is missing.
    pub fn is_ancestor(&self, ancestor: CommitId, of: CommitId) -> Result<bool, GitError> {
        if ancestor == of {
            return Ok(true);
        }
        oid(ancestor)
            .and_then(|ancestor| self.repository.graph_descendant_of(oid(of)?, ancestor))
            .map_err(|cause| self.failed("compare two commits", cause))
    }

    /// Returns how many commits are only in the history of `one`, and how many only in that of `other`.
    ///
    /// # Errors
    ///
    /// One of them is missing.
    pub fn ahead_and_behind(
        &self,
        one: CommitId,
        other: CommitId,
    ) -> Result<(usize, usize), GitError> {
        oid(one)
            .and_then(|one| self.repository.graph_ahead_behind(one, oid(other)?))
            .map_err(|cause| self.failed("compare two commits", cause))
    }

    /// Returns whether a commit is in a reference's reflog, so that the reference once pointed to it.
    pub fn reflog_contains(&self, name: &str, commit: CommitId) -> bool {
        let Ok(log) = self.repository.reflog(name) else {
            return false;
        };
        log.iter().any(|entry| {
            CommitId::from(entry.id_new()) == commit || CommitId::from(entry.id_old()) == commit
        })
    }
}
