//! The commits between two commits.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use git2::{Commit, Oid, Repository, Sort};

use super::error::GitErrorKind;
use super::working_copy::oid;
use super::{GitError, WorkingCopy};
use crate::source::{CommitId, CommitSummary};

impl WorkingCopy {
    /// Tells whether it is a shallow clone, which holds only a part of the history.
    pub fn holds_a_part_only(&self) -> bool {
        !borders(&self.repository).is_empty()
    }

    /// Returns the commits that lead to `to` and not to `from`, the newest first: those of `git log
    /// from..to`, in its order. With paths only those that touched one of them.
    ///
    /// # Errors
    ///
    /// A commit is missing, or the history between leads out of a shallow clone.
    pub fn commits_between(
        &self,
        from: CommitId,
        to: CommitId,
        paths: &[String],
    ) -> Result<Vec<CommitSummary>, GitError> {
        let ids = oid(from)
            .and_then(|from| walk(&self.repository, from, oid(to)?))
            .map_err(|cause| self.failed("list commits", cause))?;
        // Its parents are not here, so neither is the whole list.
        let borders = borders(&self.repository);
        if let Some(border) = ids.iter().find(|id| borders.contains(*id)) {
            let dir = self.dir.display();
            let what = format!("{dir} is a shallow clone, without the commits before {border}");
            let hint = format!("`git -C {dir} fetch --unshallow` fetches the rest");
            return Err(GitError::new(GitErrorKind::Local, what).with_hint(hint));
        }
        summaries(&self.repository, &ids, paths).map_err(|cause| self.failed("read commits", cause))
    }
}

fn walk(repository: &Repository, from: Oid, to: Oid) -> Result<Vec<Oid>, git2::Error> {
    let mut walk = repository.revwalk()?;
    walk.set_sorting(Sort::TIME | Sort::TOPOLOGICAL)?;
    walk.push(to)?;
    walk.hide(from)?;
    walk.collect()
}

/// Returns the commits whose parents a shallow clone leaves out.
fn borders(repository: &Repository) -> HashSet<Oid> {
    let text = fs::read_to_string(repository.commondir().join("shallow")).unwrap_or_default();
    text.lines()
        .filter_map(|line| Oid::from_str(line.trim()).ok())
        .collect()
}

fn summaries(
    repository: &Repository,
    ids: &[Oid],
    paths: &[String],
) -> Result<Vec<CommitSummary>, git2::Error> {
    let mut summaries = Vec::new();
    for id in ids {
        let commit = repository.find_commit(*id)?;
        if paths.is_empty() || touches(&commit, paths)? {
            summaries.push(summary(&commit));
        }
    }
    Ok(summaries)
}

/// Tells whether a commit has another content at the paths than each of its parents; a merge that took
/// everything from one of them did nothing to them.
fn touches(commit: &Commit<'_>, paths: &[String]) -> Result<bool, git2::Error> {
    let content = |commit: &Commit<'_>| -> Result<Vec<Option<Oid>>, git2::Error> {
        let tree = commit.tree()?;
        let id = |path: &String| tree.get_path(Path::new(path)).ok().map(|entry| entry.id());
        Ok(paths.iter().map(id).collect())
    };
    let own = content(commit)?;
    for parent in commit.parents() {
        if content(&parent)? == own {
            return Ok(false);
        }
    }
    Ok(commit.parent_count() > 0 || own.iter().any(Option::is_some))
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
