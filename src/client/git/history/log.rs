//! Lists the commits between two commits.

use git2::{Commit, Odb, Oid, Repository, Sort};

use super::selection_difference::differ;
use super::tree_cache::TreeCache;
use crate::client::git::error::GitErrorKind;
use crate::client::git::fetch::shallow::boundary;
use crate::client::git::worktree::working_copy::oid;
use crate::client::git::{GitError, WorkingCopy};
use crate::model::source::{CommitId, CommitSummary, PathSelection};

impl WorkingCopy {
    /// Returns the commits of `git log from..to`, in the same order, without those that touched no selected
    /// file.
    ///
    /// # Errors
    ///
    /// A commit is missing, or the history in between is not complete because the clone is shallow.
    pub fn commits_between(
        &self,
        from: CommitId,
        to: CommitId,
        selection: &PathSelection,
    ) -> Result<Vec<CommitSummary>, GitError> {
        let ids = oid(from)
            .and_then(|from| walk(&self.repository, from, oid(to)?))
            .map_err(|cause| self.failed("list commits", cause))?;
        // A boundary commit lacks its parents, so the list would be incomplete.
        let boundary = boundary(&self.repository);
        if let Some(boundary_commit) = ids.iter().find(|id| boundary.contains(*id)) {
            let dir = self.dir.display();
            let what =
                format!("{dir} is a shallow clone without the commits before {boundary_commit}");
            let hint = format!("`git -C {dir} fetch --unshallow` fetches the rest");
            return Err(GitError::new(GitErrorKind::Local, what).with_hint(hint));
        }
        summaries(&self.repository, &ids, selection)
            .map_err(|cause| self.failed("read commits", cause))
    }
}

fn walk(repository: &Repository, from: Oid, to: Oid) -> Result<Vec<Oid>, git2::Error> {
    let mut walk = repository.revwalk()?;
    walk.set_sorting(Sort::TIME | Sort::TOPOLOGICAL)?;
    walk.push(to)?;
    walk.hide(from)?;
    walk.collect()
}

fn summaries(
    repository: &Repository,
    ids: &[Oid],
    selection: &PathSelection,
) -> Result<Vec<CommitSummary>, git2::Error> {
    let (mut summaries, mut trees) = (Vec::new(), TreeCache::default());
    let odb = repository.odb()?;
    for id in ids {
        let commit = repository.find_commit(*id)?;
        if selection.is_whole() || touches(&commit, &odb, &mut trees, selection)? {
            summaries.push(summary(&commit));
        }
    }
    Ok(summaries)
}

/// Returns whether a commit differs in selected files from each of its parents; a merge with the content of one
/// parent does not count.
fn touches(
    commit: &Commit<'_>,
    odb: &Odb<'_>,
    trees: &mut TreeCache,
    selection: &PathSelection,
) -> Result<bool, git2::Error> {
    let own = Some(commit.tree_id());
    for parent in commit.parents() {
        if !differ(trees, odb, (own, Some(parent.tree_id())), selection)? {
            return Ok(false);
        }
    }
    Ok(commit.parent_count() > 0 || differ(trees, odb, (own, None), selection)?)
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
