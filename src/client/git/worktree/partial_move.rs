//! Moves a working copy in which some files are not checked out.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use git2::build::CheckoutBuilder;
use git2::{Commit, FileMode, Index, IndexEntry, Object, Repository};

use super::index_file::{index_of, skipped_entry};
use super::sparse::{Sparse, is_marked, is_present};
use crate::client::git::WorkingCopy;

/// The changes to files, and those only to the index.
pub struct PartialMove {
    checked_out: Vec<PathBuf>,
    skipped: Vec<SkippedPath>,
}

/// A changed path that is not checked out.
struct SkippedPath {
    path: Vec<u8>,
    /// The entry in the commit; `None` if it is removed.
    entry: Option<IndexEntry>,
    is_new: bool,
}

impl WorkingCopy {
    /// Returns how to move the files to a commit; `None` if all files are checked out.
    ///
    /// Checked-out files are updated, and skipped files remain skipped; for new files, the patterns of the
    /// sparse checkout decide.
    pub fn partial_move(&self, to: &Commit<'_>) -> Result<Option<PartialMove>, git2::Error> {
        let sparse = Sparse::of(&self.repository);
        let index = index_of(&self.repository)?;
        let is_not_checked_out =
            |entry: &IndexEntry| is_marked(entry) && !is_present(entry, &self.dir);
        if sparse.is_none() && !index.iter().any(|entry| is_not_checked_out(&entry)) {
            return Ok(None);
        }
        let before = self.repository.head()?.peel_to_tree()?;
        let difference =
            self.repository
                .diff_tree_to_tree(Some(&before), Some(&to.tree()?), None)?;
        let mut partial = PartialMove {
            checked_out: Vec::new(),
            skipped: Vec::new(),
        };
        for delta in difference.deltas() {
            let new = delta.new_file();
            let Some(path) = new.path_bytes().or(delta.old_file().path_bytes()) else {
                continue;
            };
            let now = index.get_path(Path::new(OsStr::from_bytes(path)), 0);
            let is_checked_out = match (&now, &sparse) {
                (Some(entry), _) => !is_not_checked_out(entry),
                (None, Some(sparse)) => sparse.includes(path),
                (None, None) => true,
            };
            if is_checked_out {
                partial.checked_out.push(OsStr::from_bytes(path).into());
                continue;
            }
            let is_there = new.exists() && new.mode() != FileMode::Unreadable;
            partial.skipped.push(SkippedPath {
                path: path.to_owned(),
                entry: is_there
                    .then(|| skipped_entry(path.to_owned(), new.mode().into(), new.id())),
                is_new: now.is_none(),
            });
        }
        Ok(Some(partial))
    }
}

impl PartialMove {
    /// Returns untracked files at new paths that are not checked out: git would report them as modified.
    pub fn conflicts(&self, dir: &Path) -> Vec<String> {
        let new = self.skipped.iter().filter(|it| it.is_new);
        let paths = new.map(|it| Path::new(OsStr::from_bytes(&it.path)));
        paths
            .filter(|path| dir.join(path).symlink_metadata().is_ok())
            .map(|path| path.display().to_string())
            .collect()
    }

    pub fn check_out(
        &self,
        repository: &Repository,
        commit: &Object<'_>,
        options: &mut CheckoutBuilder<'_>,
    ) -> Result<(), git2::Error> {
        // Without any path, libgit2 would check out all files.
        if !self.checked_out.is_empty() {
            options.disable_pathspec_match(true);
            for path in &self.checked_out {
                options.path(path);
            }
            repository.checkout_tree(commit, Some(options))?;
        }
        let mut index: Index = repository.index()?;
        index.read(true)?;
        for skipped in &self.skipped {
            match &skipped.entry {
                Some(entry) => index.add(entry)?,
                None => index.remove_path(Path::new(OsStr::from_bytes(&skipped.path)))?,
            }
        }
        index.write()
    }
}
