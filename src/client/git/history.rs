//! Questions about commits.

use super::working_copy::oid;
use super::{GitError, WorkingCopy};
use crate::source::CommitId;

/// What an image's labels and a builder's environment say about a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitFacts {
    /// When it was committed, in seconds since 1970: `SOURCE_DATE_EPOCH`.
    pub committer_time: i64,
}

impl WorkingCopy {
    /// Returns what a commit says about itself.
    ///
    /// # Errors
    ///
    /// The object store does not hold it.
    pub fn commit_facts(&self, commit: CommitId) -> Result<CommitFacts, GitError> {
        let missing = |cause| self.failed(&format!("find commit {commit}"), cause);
        let commit = oid(commit)
            .and_then(|id| self.repository.find_commit(id))
            .map_err(missing)?;
        Ok(CommitFacts {
            committer_time: commit.committer().when().seconds(),
        })
    }

    /// Tells whether a commit is the other one, or stands in its history.
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

    /// Returns how many commits one has that the other has not, and the other way round.
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

    /// Tells whether a reference's log names a commit: it once stood there.
    pub fn reference_once_was(&self, name: &str, commit: CommitId) -> bool {
        let Ok(log) = self.repository.reflog(name) else {
            return false;
        };
        log.iter().any(|entry| {
            CommitId::from(entry.id_new()) == commit || CommitId::from(entry.id_old()) == commit
        })
    }
}
