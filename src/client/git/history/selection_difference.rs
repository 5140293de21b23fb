//! Whether two trees differ in selected files.

use git2::{Odb, Oid};

use super::tree_cache::TreeCache;
use super::tree_difference::{TreeEntry, compare};
use crate::client::git::worktree::working_copy::oid;
use crate::client::git::{GitError, WorkingCopy};
use crate::model::source::{CommitId, PathSelection};

impl WorkingCopy {
    /// Returns whether selected files differ between two commits, or cannot be compared.
    pub fn differs_in(&self, selection: &PathSelection, one: CommitId, other: CommitId) -> bool {
        let tree = |commit| {
            let commit = self.repository.find_commit(oid(commit)?)?;
            Ok::<_, git2::Error>(Some(commit.tree_id()))
        };
        let compared = || {
            let trees = (tree(one)?, tree(other)?);
            differ(
                &mut TreeCache::default(),
                &self.repository.odb()?,
                trees,
                selection,
            )
        };
        compared().unwrap_or(true)
    }

    /// Returns whether a commit has selected files.
    ///
    /// # Errors
    ///
    /// The commit or a folder is not in the object store.
    pub fn selects_files(
        &self,
        commit: CommitId,
        selection: &PathSelection,
    ) -> Result<bool, GitError> {
        let found = || {
            let tree = self.repository.find_commit(oid(commit)?)?.tree_id();
            let odb = self.repository.odb()?;
            differ(
                &mut TreeCache::default(),
                &odb,
                (Some(tree), None),
                selection,
            )
        };
        found().map_err(|cause| self.failed(&format!("look into {commit}"), cause))
    }
}

/// Returns whether selected files differ between two trees; `None` is an empty one.
///
/// # Errors
///
/// A tree is missing or corrupt.
pub fn differ(
    trees: &mut TreeCache,
    odb: &Odb<'_>,
    pair: (Option<Oid>, Option<Oid>),
    selection: &PathSelection,
) -> Result<bool, git2::Error> {
    let mut comparison = Comparison {
        trees,
        odb,
        selection,
        path: Vec::new(),
    };
    comparison.differs(pair.0, pair.1)
}

struct Comparison<'c, 'o> {
    trees: &'c mut TreeCache,
    odb: &'c Odb<'o>,
    selection: &'c PathSelection,
    /// The folder being compared, with a trailing slash unless it is the root.
    path: Vec<u8>,
}

impl Comparison<'_, '_> {
    fn differs(&mut self, one: Option<Oid>, other: Option<Oid>) -> Result<bool, git2::Error> {
        if one == other {
            return Ok(false);
        }
        let left = self.trees.get(self.odb, one)?;
        let right = self.trees.get(self.odb, other)?;
        let mut entries = Vec::new();
        let compared = compare(&left, &right, |left, right| entries.push((left, right)));
        compared.map_err(|_| broken(one, other))?;
        let length = self.path.len();
        // Files first, because that may be all that is needed.
        let mut folders = Vec::new();
        for (left, right) in entries {
            let Some(entry) = left.or(right) else {
                continue;
            };
            self.path.extend_from_slice(entry.name);
            let is_file = |entry: Option<TreeEntry<'_>>| entry.is_some_and(|it| !it.is_folder());
            let is_selected =
                (is_file(left) || is_file(right)) && self.selection.includes(&self.path);
            let folder = |entry: Option<TreeEntry<'_>>| entry?.folder();
            let (left, right) = (folder(left), folder(right));
            if (left.is_some() || right.is_some()) && !self.selection.is_outside(&self.path) {
                folders.push((entry.name.to_owned(), left, right));
            }
            self.path.truncate(length);
            if is_selected {
                return Ok(true);
            }
        }
        for (name, left, right) in folders {
            self.path.extend_from_slice(&name);
            self.path.push(b'/');
            let differs = self.differs(left, right)?;
            self.path.truncate(length);
            if differs {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Returns the error for a tree that cannot be parsed.
pub fn broken(one: Option<Oid>, other: Option<Oid>) -> git2::Error {
    git2::Error::from_str(&format!("tree {one:?} or {other:?} is corrupt"))
}
