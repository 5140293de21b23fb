//! Files that git was told not to look at, which a build in place reads all the same.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use git2::{
    DiffOptions, Index, IndexEntry, IndexEntryExtendedFlag, IndexEntryFlag, IndexTime, Repository,
    StatusEntry,
};

/// Returns the paths below those given that `git update-index --assume-unchanged` or
/// `--skip-worktree` hides from git's own comparison, and that differ from the index.
///
/// A file that is to be skipped and is not there was left out of a sparse checkout: it does not count.
///
/// # Errors
///
/// A file cannot be read.
pub fn unwatched_changes(
    repository: &Repository,
    index: &Index,
    dir: &Path,
    below: &[String],
) -> Result<Vec<Vec<u8>>, git2::Error> {
    let hidden: Vec<IndexEntry> = index
        .iter()
        .filter(|entry| is_below(&entry.path, below) && is_unwatched(entry, dir))
        .collect();
    if hidden.is_empty() {
        return Ok(Vec::new());
    }
    // Git compares them once more, by an index in memory that does not have the marks.
    let mut unmarked = Index::new()?;
    let mut options = DiffOptions::new();
    options
        .include_typechange(true)
        .disable_pathspec_match(true);
    for entry in hidden {
        options.pathspec(entry.path.as_slice());
        unmarked.add(&watched(entry))?;
    }
    let differences = repository.diff_index_to_workdir(Some(&unmarked), Some(&mut options))?;
    let paths = differences.deltas().filter_map(|delta| {
        let path = delta.old_file().path_bytes();
        path.or(delta.new_file().path_bytes()).map(<[u8]>::to_owned)
    });
    Ok(paths.collect())
}

fn is_below(path: &[u8], below: &[String]) -> bool {
    let is_in = |folder: &String| {
        let rest = path.strip_prefix(folder.as_bytes());
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
    };
    below.is_empty() || below.iter().any(is_in)
}

/// Tells whether a file that is not there was left out of a sparse checkout.
pub fn is_left_out(index: &Index, absent: &StatusEntry<'_>) -> bool {
    let path = Path::new(OsStr::from_bytes(absent.path_bytes()));
    index.get_path(path, 0).as_ref().is_some_and(is_skipped)
}

fn is_skipped(entry: &IndexEntry) -> bool {
    entry.flags_extended & IndexEntryExtendedFlag::SKIP_WORKTREE.bits() != 0
}

fn is_unwatched(entry: &IndexEntry, dir: &Path) -> bool {
    if is_skipped(entry) {
        return fs::symlink_metadata(dir.join(OsStr::from_bytes(&entry.path))).is_ok();
    }
    entry.flags & IndexEntryFlag::VALID.bits() != 0
}

/// Returns the entry without its marks, and without the times that would save reading the file: those
/// of a file that git does not look at are not kept up to date.
fn watched(entry: IndexEntry) -> IndexEntry {
    IndexEntry {
        ctime: IndexTime::new(0, 0),
        mtime: IndexTime::new(0, 0),
        flags: 0,
        flags_extended: 0,
        ..entry
    }
}
