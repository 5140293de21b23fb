//! Files that git does not check for changes, but that a build in place reads.

use std::collections::BTreeSet;
use std::path::Path;

use git2::{DiffOptions, Index, IndexEntry, IndexEntryFlag, IndexTime, Repository};

use super::SUBMODULE;
use crate::client::git::worktree::sparse::{is_marked, is_present};

/// Returns the paths marked by `git update-index --assume-unchanged` or `--skip-worktree` that differ from
/// the index, at or below the given paths.
///
/// # Errors
///
/// A file cannot be read.
pub fn unchecked_changes(
    repository: &Repository,
    index: &Index,
    dir: &Path,
    below: &[String],
) -> Result<Vec<Vec<u8>>, git2::Error> {
    let is_hidden = |entry: &IndexEntry| {
        if is_marked(entry) {
            is_present(entry, dir)
        } else {
            entry.flags & IndexEntryFlag::VALID.bits() != 0
        }
    };
    compare_unmarked(repository, index, below, is_hidden)
}

/// Returns the files outside a sparse checkout, at or below the given paths.
pub fn excluded(index: &Index, dir: &Path, below: &[String]) -> BTreeSet<Vec<u8>> {
    let entries = index.iter().filter(|entry| is_below(&entry.path, below));
    let excluded = entries.filter(|entry| is_marked(entry) && !is_present(entry, dir));
    // A submodule is not a file.
    let excluded = excluded.filter(|entry| entry.mode != SUBMODULE);
    excluded.map(|entry| entry.path).collect()
}

/// Compares entries that git does not check with their files, and returns the paths that differ.
pub fn compare_unmarked(
    repository: &Repository,
    index: &Index,
    below: &[String],
    is_compared: impl Fn(&IndexEntry) -> bool,
) -> Result<Vec<Vec<u8>>, git2::Error> {
    let hidden: Vec<IndexEntry> = index
        .iter()
        .filter(|entry| is_below(&entry.path, below) && is_compared(entry))
        .collect();
    if hidden.is_empty() {
        return Ok(Vec::new());
    }
    // Compare them with an in-memory index without the marks.
    let mut unmarked = Index::new()?;
    let mut options = DiffOptions::new();
    options
        .include_typechange(true)
        .disable_pathspec_match(true);
    for entry in hidden {
        options.pathspec(entry.path.as_slice());
        unmarked.add(&without_marks(entry))?;
    }
    let differences = repository.diff_index_to_workdir(Some(&unmarked), Some(&mut options))?;
    let paths = differences.deltas().filter_map(|delta| {
        let path = delta.old_file().path_bytes();
        path.or(delta.new_file().path_bytes()).map(<[u8]>::to_owned)
    });
    Ok(paths.collect())
}

/// Returns whether a path is at or below one of the given paths; true if none are given.
fn is_below(path: &[u8], below: &[String]) -> bool {
    let is_in = |folder: &String| {
        let rest = path.strip_prefix(folder.as_bytes());
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
    };
    below.is_empty() || below.iter().any(is_in)
}

/// Returns the entry without its marks and without its times, so that the file is read: git does not update
/// the times of marked entries.
fn without_marks(entry: IndexEntry) -> IndexEntry {
    IndexEntry {
        ctime: IndexTime::new(0, 0),
        mtime: IndexTime::new(0, 0),
        flags: 0,
        flags_extended: 0,
        ..entry
    }
}
