//! What is modified in a working copy, by the rules of `git status`: the one definition for all of xp.
//!
//! libgit2 finds the differences. What git was told not to look at is taken out of them here: files that
//! a sparse checkout leaves out, and those marked `skip-worktree` or `assume-unchanged`.

use std::path::Path;

use git2::{Index, IndexEntry, IndexEntryFlag, Repository, Status, StatusOptions};

use super::index_file::index_of;
use super::sparse::{Sparse, is_marked, is_present, is_skipped};
use super::tree::compare_unmarked;

/// What makes a file differ from the index.
const IN_FILES: Status = Status::WT_MODIFIED
    .union(Status::WT_DELETED)
    .union(Status::WT_TYPECHANGE)
    .union(Status::WT_RENAMED);

/// What is compared.
#[derive(Clone, Copy)]
pub(super) struct Scope<'a> {
    /// Only these folders and files, as they are written; all where there are none.
    pub(super) below: &'a [String],
    pub(super) untracked: Untracked,
    /// Whether submodules count, by their own commit and files.
    pub(super) submodules: bool,
}

/// How files that are not tracked count.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Untracked {
    No,
    /// A folder without a tracked file counts once.
    Folders,
    /// Each for itself.
    Files,
}

/// A path that differs.
pub(super) struct Difference {
    pub(super) path: Vec<u8>,
    pub(super) status: Status,
}

/// Returns the paths that `git status` would list, and writes nothing.
///
/// # Errors
///
/// The index or a file cannot be read.
pub(super) fn differences(
    repository: &Repository,
    scope: Scope<'_>,
) -> Result<Vec<Difference>, git2::Error> {
    let index = index_of(repository)?;
    let mut options = StatusOptions::new();
    options
        .include_untracked(scope.untracked != Untracked::No)
        .recurse_untracked_dirs(scope.untracked == Untracked::Files)
        .include_ignored(false)
        .exclude_submodules(!scope.submodules || ignores_submodules(repository))
        .disable_pathspec_match(true)
        .update_index(false);
    for path in scope.below {
        options.pathspec(path.as_str());
    }
    let sparse = Sparse::of(repository);
    let dir = repository.workdir().unwrap_or(Path::new(""));
    let mut differences = Vec::new();
    for found in repository.statuses(Some(&mut options))?.iter() {
        let mut status = found.status();
        let path = found.path_bytes();
        if status.intersects(IN_FILES)
            && let Some(entry) = find(&index, path)
            && (is_assumed_unchanged(&entry) || is_skipped(&entry, sparse.as_ref(), dir))
        {
            status.remove(IN_FILES);
        }
        if status != Status::CURRENT {
            differences.push(Difference {
                path: path.to_owned(),
                status,
            });
        }
    }
    if let Some(sparse) = &sparse {
        // libgit2 does not look at them, and git does.
        let present = |entry: &IndexEntry| {
            is_marked(entry) && !is_skipped(entry, Some(sparse), dir) && is_present(entry, dir)
        };
        let modified = compare_unmarked(repository, &index, scope.below, present)?;
        differences.extend(modified.into_iter().map(|path| Difference {
            path,
            status: Status::WT_MODIFIED,
        }));
    }
    Ok(differences)
}

fn find(index: &Index, path: &[u8]) -> Option<IndexEntry> {
    use std::os::unix::ffi::OsStrExt as _;
    index.get_path(Path::new(std::ffi::OsStr::from_bytes(path)), 0)
}

fn is_assumed_unchanged(entry: &IndexEntry) -> bool {
    entry.flags & IndexEntryFlag::VALID.bits() != 0
}

/// libgit2 knows the setting of each submodule, and not the one for all of them.
fn ignores_submodules(repository: &Repository) -> bool {
    let config = repository.config().and_then(|mut config| config.snapshot());
    let value = config.and_then(|config| config.get_string("diff.ignoreSubmodules"));
    value.is_ok_and(|value| value == "all")
}
