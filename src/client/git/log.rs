//! The commits between two commits.

use std::path::Path;

use git2::{Commit, Oid, Repository, Sort};

use super::working_copy::oid;
use super::{GitError, WorkingCopy};
use crate::source::{CommitId, CommitSummary};

impl WorkingCopy {
    /// Returns the commits that lead to `to` and not to `from`, the newest first: those of `git log
    /// from..to`, in its order. With a path only those that touched it.
    ///
    /// # Errors
    ///
    /// A commit is missing, as in a shallow clone.
    pub fn commits_between(
        &self,
        from: CommitId,
        to: CommitId,
        path: Option<&str>,
    ) -> Result<Vec<CommitSummary>, GitError> {
        oid(from)
            .and_then(|from| between(&self.repository, from, oid(to)?, path))
            .map_err(|cause| self.failed("list commits", cause))
    }
}

fn between(
    repository: &Repository,
    from: Oid,
    to: Oid,
    path: Option<&str>,
) -> Result<Vec<CommitSummary>, git2::Error> {
    let mut walk = repository.revwalk()?;
    walk.set_sorting(Sort::TIME | Sort::TOPOLOGICAL)?;
    walk.push(to)?;
    walk.hide(from)?;
    let mut commits = Vec::new();
    for id in walk {
        let commit = repository.find_commit(id?)?;
        if let Some(path) = path
            && !touches(&commit, Path::new(path))?
        {
            continue;
        }
        commits.push(summary(&commit));
    }
    Ok(commits)
}

/// Tells whether a commit has another content at a path than each of its parents; a merge that took it
/// from one of them did nothing to it.
fn touches(commit: &Commit<'_>, path: &Path) -> Result<bool, git2::Error> {
    let content = |commit: &Commit<'_>| -> Result<Option<Oid>, git2::Error> {
        let tree = commit.tree()?;
        Ok(tree.get_path(path).ok().map(|entry| entry.id()))
    };
    let own = content(commit)?;
    for parent in commit.parents() {
        if content(&parent)? == own {
            return Ok(false);
        }
    }
    Ok(commit.parent_count() > 0 || own.is_some())
}

fn summary(commit: &Commit<'_>) -> CommitSummary {
    let author = commit.author();
    let when = author.when();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    CommitSummary {
        commit: commit.id().into(),
        author: text(author.name_bytes()),
        time: when.seconds(),
        offset_minutes: when.offset_minutes(),
        subject: text(commit.summary_bytes().unwrap_or_default()),
        is_merge: commit.parent_count() > 1,
    }
}
