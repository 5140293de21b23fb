//! Modified files of a working copy, by the rules of `git status`; all of xp uses this definition.
//!
//! libgit2 finds the differences. This module removes files that git does not check: those outside a sparse
//! checkout, and those marked `skip-worktree` or `assume-unchanged`.

use std::path::Path;

use git2::{
    Index, IndexEntry, IndexEntryFlag, Repository, Status, StatusOptions, SubmoduleIgnore,
    SubmoduleStatus,
};

use super::index_file::index_of;
use super::sparse::{Sparse, is_marked, is_present, is_skipped};
use super::tree::{SUBMODULE, compare_unmarked};

/// Status flags of differences between file and index.
const IN_FILES: Status = Status::WT_MODIFIED
    .union(Status::WT_DELETED)
    .union(Status::WT_TYPECHANGE)
    .union(Status::WT_RENAMED);

/// The scope of a comparison.
#[derive(Clone, Copy)]
pub struct Scope<'a> {
    /// Only these folders and files, taken literally; empty for all.
    pub below: &'a [String],
    pub untracked: Untracked,
    /// Whether submodules count if their commit or files differ.
    pub submodules: bool,
}

/// How untracked files count.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Untracked {
    No,
    /// A folder without tracked files counts once.
    Folders,
    /// Each file counts.
    Files,
}

/// A path that differs.
pub struct StatusDifference {
    pub path: Vec<u8>,
    pub status: Status,
}

/// Returns the paths that `git status` would list, without writing anything.
///
/// # Errors
///
/// The index or a file cannot be read.
pub fn differences(
    repository: &Repository,
    scope: Scope<'_>,
) -> Result<Vec<StatusDifference>, git2::Error> {
    let index = index_of(repository)?;
    let mut options = StatusOptions::new();
    options
        .include_untracked(scope.untracked != Untracked::No)
        .recurse_untracked_dirs(scope.untracked == Untracked::Files)
        .include_ignored(false)
        .exclude_submodules(!scope.submodules)
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
            && (is_assumed_unchanged(&entry)
                || is_skipped(&entry, sparse.as_ref(), dir)
                || entry.mode == SUBMODULE && !is_submodule_modified(repository, path))
        {
            status.remove(IN_FILES);
        }
        if status != Status::CURRENT {
            differences.push(StatusDifference {
                path: path.to_owned(),
                status,
            });
        }
    }
    if let Some(sparse) = &sparse {
        // git checks these files, but libgit2 does not.
        let present = |entry: &IndexEntry| {
            is_marked(entry) && !is_skipped(entry, Some(sparse), dir) && is_present(entry, dir)
        };
        let modified = compare_unmarked(repository, &index, scope.below, present)?;
        differences.extend(modified.into_iter().map(|path| StatusDifference {
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

/// Returns whether a submodule counts as modified, given its `ignore` setting: libgit2 reads only that in
/// `.gitmodules`.
fn is_submodule_modified(repository: &Repository, path: &[u8]) -> bool {
    let Ok(path) = std::str::from_utf8(path) else {
        return true;
    };
    let Ok(submodule) = repository.find_submodule(path) else {
        return true;
    };
    let name = submodule.name().unwrap_or(path).to_owned();
    let config = repository.config().and_then(|mut config| config.snapshot());
    let setting = |key: &str| config.as_ref().ok()?.get_string(key).ok();
    let setting = setting(&format!("submodule.{name}.ignore"))
        .or(match submodule.ignore_rule() {
            SubmoduleIgnore::Unspecified | SubmoduleIgnore::None => None,
            SubmoduleIgnore::Untracked => Some("untracked".to_owned()),
            SubmoduleIgnore::Dirty => Some("dirty".to_owned()),
            SubmoduleIgnore::All => Some("all".to_owned()),
        })
        .or_else(|| setting("diff.ignoreSubmodules"));
    let Ok(status) = repository.submodule_status(&name, SubmoduleIgnore::None) else {
        return true;
    };
    let commit =
        SubmoduleStatus::WD_MODIFIED | SubmoduleStatus::WD_ADDED | SubmoduleStatus::WD_DELETED;
    let files = SubmoduleStatus::WD_INDEX_MODIFIED | SubmoduleStatus::WD_WD_MODIFIED;
    match setting.as_deref() {
        Some("all") => false,
        Some("dirty") => status.intersects(commit),
        Some("untracked") => status.intersects(commit | files),
        _ => true,
    }
}
