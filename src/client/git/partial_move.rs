//! Moving a working copy of which some files are not checked out.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use git2::build::CheckoutBuilder;
use git2::{Commit, FileMode, Index, IndexEntry, Object, Repository};

use super::WorkingCopy;
use super::index_file::{index_of, left_out};
use super::sparse::{Sparse, is_marked, is_present};

/// What changes in the files, and what in the index alone.
pub(super) struct PartialMove {
    checked_out: Vec<PathBuf>,
    left_out: Vec<LeftOut>,
}

/// A path that changes and is not checked out.
struct LeftOut {
    path: Vec<u8>,
    /// What the commit has there.
    entry: Option<IndexEntry>,
    is_new: bool,
}

impl WorkingCopy {
    /// Returns how the files move to a commit; none where all of them are checked out.
    ///
    /// A file that is there moves along, and one that was left out stays so; of new ones, the patterns
    /// of the sparse checkout decide.
    pub(super) fn partial_move(&self, to: &Commit<'_>) -> Result<Option<PartialMove>, git2::Error> {
        let sparse = Sparse::of(&self.repository);
        let index = index_of(&self.repository)?;
        let is_left_out = |entry: &IndexEntry| is_marked(entry) && !is_present(entry, &self.dir);
        if sparse.is_none() && !index.iter().any(|entry| is_left_out(&entry)) {
            return Ok(None);
        }
        let before = self.repository.head()?.peel_to_tree()?;
        let difference =
            self.repository
                .diff_tree_to_tree(Some(&before), Some(&to.tree()?), None)?;
        let mut partial = PartialMove {
            checked_out: Vec::new(),
            left_out: Vec::new(),
        };
        for delta in difference.deltas() {
            let new = delta.new_file();
            let Some(path) = new.path_bytes().or(delta.old_file().path_bytes()) else {
                continue;
            };
            let now = index.get_path(Path::new(OsStr::from_bytes(path)), 0);
            let is_checked_out = match (&now, &sparse) {
                (Some(entry), _) => !is_left_out(entry),
                (None, Some(sparse)) => sparse.includes(path),
                (None, None) => true,
            };
            if is_checked_out {
                partial.checked_out.push(OsStr::from_bytes(path).into());
                continue;
            }
            let is_there = new.exists() && new.mode() != FileMode::Unreadable;
            partial.left_out.push(LeftOut {
                path: path.to_owned(),
                entry: is_there.then(|| left_out(path.to_owned(), new.mode().into(), new.id())),
                is_new: now.is_none(),
            });
        }
        Ok(Some(partial))
    }
}

impl PartialMove {
    /// Returns files of the user's at new paths that are not checked out: git would take them for changed.
    pub(super) fn in_the_way(&self, dir: &Path) -> Vec<String> {
        let new = self.left_out.iter().filter(|it| it.is_new);
        let paths = new.map(|it| Path::new(OsStr::from_bytes(&it.path)));
        paths
            .filter(|path| dir.join(path).symlink_metadata().is_ok())
            .map(|path| path.display().to_string())
            .collect()
    }

    pub(super) fn check_out(
        &self,
        repository: &Repository,
        commit: &Object<'_>,
        options: &mut CheckoutBuilder<'_>,
    ) -> Result<(), git2::Error> {
        // No path at all would mean all of them.
        if !self.checked_out.is_empty() {
            options.disable_pathspec_match(true);
            for path in &self.checked_out {
                options.path(path);
            }
            repository.checkout_tree(commit, Some(options))?;
        }
        let mut index: Index = repository.index()?;
        index.read(true)?;
        for left_out in &self.left_out {
            match &left_out.entry {
                Some(entry) => index.add(entry)?,
                None => index.remove_path(Path::new(OsStr::from_bytes(&left_out.path)))?,
            }
        }
        index.write()
    }
}
