//! The differences of a working copy from its commit, and the folders of its repository.
//!
//! Nothing is written, not even refreshed stat data in the index.

mod unchecked;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use git2::{ConfigLevel, IndexEntry, Repository};
use sha1::{Digest as _, Sha1};

pub use self::unchecked::compare_unmarked;
use self::unchecked::{excluded, unchecked_changes};
use super::index_file::index_of;
use super::status::{Scope, Untracked, differences};
use crate::client::git::{GitError, WorkingCopy};
use crate::model::source::{
    CommonDir, GitFolders, GitLink, PathSelection, TreeChanges, TreeHasher,
};

/// The maximum number of differing paths to report.
const NAMED_PATHS: usize = 3;

/// The mode of a submodule entry.
pub const SUBMODULE: u32 = 0o160_000;

/// The maximum nesting depth of submodules to compare.
const MAX_DEPTH: usize = 32;

impl WorkingCopy {
    /// Returns the differences from `HEAD`: modified, staged and deleted files, and untracked files that are not
    /// ignored. Submodules count if their commit or files differ.
    ///
    /// Only selected files count.
    ///
    /// Files are compared by git's rules, and only those that differ are read, so a large working copy costs one
    /// `stat` per file. Files that git does not check because of `git update-index --assume-unchanged` or
    /// `--skip-worktree` are read as well. Those outside a sparse checkout count as removed: a build in place
    /// does not get them.
    ///
    /// # Errors
    ///
    /// The index or a file that differs cannot be read.
    pub fn tree_changes(&self, selection: &PathSelection) -> Result<Option<TreeChanges>, GitError> {
        let changes = changes(&self.repository, &self.dir, selection, 0)?;
        if changes.paths.is_empty() {
            return Ok(None);
        }
        let is_named = |path: &&Vec<u8>| !changes.excluded.contains(*path);
        let named = changes.paths.iter().filter(is_named).take(NAMED_PATHS);
        Ok(Some(TreeChanges {
            paths: named
                .map(|path| String::from_utf8_lossy(path).into_owned())
                .collect(),
            count: changes.paths.len(),
            excluded: changes.excluded.len(),
            digest: changes.hasher.finish(),
        }))
    }

    /// Returns the folders of the repository.
    ///
    /// # Errors
    ///
    /// The `.git` of a worktree or a submodule cannot be read.
    pub fn git_folders(&self) -> Result<GitFolders, GitError> {
        let entry = self.dir.join(".git");
        let link = if entry.is_dir() {
            None
        } else {
            Some(self.git_link(&entry)?)
        };
        Ok(GitFolders {
            entry,
            link,
            borrowed_objects: self.object_folders().into_iter().skip(1).collect(),
        })
    }

    fn git_link(&self, entry: &Path) -> Result<GitLink, GitError> {
        let named = read_path(entry, b"gitdir: ")?;
        let git_dir = self.repository.path().to_owned();
        let shared = git_dir.join("commondir");
        let common = if shared.exists() {
            Some(CommonDir {
                path_as_written: read_path(&shared, b"")?,
                dir: self.repository.commondir().to_owned(),
            })
        } else {
            None
        };
        // Git ignores `core.worktree` in linked worktrees.
        let worktree = match &common {
            None => self.configured_worktree(),
            Some(_) => None,
        };
        Ok(GitLink {
            dir: self.dir.clone(),
            path_as_written: named,
            git_dir: without_slash(&git_dir),
            common: common.map(|common| CommonDir {
                dir: without_slash(&common.dir),
                ..common
            }),
            worktree,
        })
    }

    fn configured_worktree(&self) -> Option<PathBuf> {
        let configuration = self.repository.config().ok()?;
        let own = configuration.open_level(ConfigLevel::Local).ok()?;
        own.get_path("core.worktree").ok()
    }
}

/// Removes the trailing slash that libgit2 adds to folders.
fn without_slash(path: &Path) -> PathBuf {
    path.components().collect()
}

/// Reads a file that contains a path after a prefix.
fn read_path(file: &Path, prefix: &[u8]) -> Result<PathBuf, GitError> {
    let bytes = fs::read(file).map_err(|cause| cannot_read(file, cause))?;
    let path = bytes.strip_prefix(prefix).unwrap_or(&bytes);
    let end = path.iter().rposition(|byte| !b"\r\n".contains(byte));
    let path = &path[..end.map_or(0, |end| end + 1)];
    Ok(PathBuf::from(OsStr::from_bytes(path)))
}

/// The differences of a repository.
struct RepositoryChanges {
    hasher: TreeHasher,
    /// The paths that differ, in byte order.
    paths: Vec<Vec<u8>>,
    /// Those of them that are outside a sparse checkout.
    excluded: BTreeSet<Vec<u8>>,
}

fn changes(
    repository: &Repository,
    dir: &Path,
    selection: &PathSelection,
    depth: usize,
) -> Result<RepositoryChanges, GitError> {
    let failed = |cause| {
        GitError::local(
            format!("cannot compare the files in {}", dir.display()),
            cause,
        )
    };
    let below = &selection.paths;
    let scope = Scope {
        below,
        untracked: Untracked::Files,
        submodules: true,
    };
    let index = index_of(repository).map_err(failed)?;
    let mut paths: BTreeSet<Vec<u8>> = differences(repository, scope)
        .map_err(failed)?
        .into_iter()
        // An untracked nested repository is listed as a folder.
        .map(|it| match it.path.strip_suffix(b"/") {
            Some(path) => path.to_owned(),
            None => it.path,
        })
        .collect();
    paths.extend(unchecked_changes(repository, &index, dir, below).map_err(failed)?);
    // A build also reads submodules that git is configured to ignore.
    let submodules = index.iter().filter(|entry| {
        entry.mode == SUBMODULE && selection.includes(&entry.path) && !paths.contains(&entry.path)
    });
    let mut changed = Vec::new();
    for entry in submodules {
        if is_submodule_changed(&entry, dir, depth)? {
            changed.push(entry.path);
        }
    }
    paths.extend(changed);
    paths.retain(|path| selection.includes(path));
    let mut excluded = excluded(&index, dir, below);
    excluded.retain(|path| selection.includes(path));
    paths.extend(excluded.iter().cloned());
    let mut hasher = TreeHasher::default();
    for path in &paths {
        add(&mut hasher, dir, path, depth)?;
    }
    Ok(RepositoryChanges {
        hasher,
        paths: paths.into_iter().collect(),
        excluded,
    })
}

/// Returns whether a checked-out submodule is at another commit, or differs from its commit.
fn is_submodule_changed(entry: &IndexEntry, dir: &Path, depth: usize) -> Result<bool, GitError> {
    let dir = dir.join(OsStr::from_bytes(&entry.path));
    let Ok(metadata) = fs::symlink_metadata(&dir) else {
        return Ok(false);
    };
    let (true, Ok(inner)) = (depth < MAX_DEPTH, repository_at(&dir, &metadata)) else {
        return Ok(false);
    };
    let head = inner.head().ok().and_then(|head| head.target());
    Ok(head != Some(entry.id)
        || !changes(&inner, &dir, &PathSelection::default(), depth + 1)?
            .paths
            .is_empty())
}

/// Adds the file or folder at a path to the hash.
fn add(hasher: &mut TreeHasher, dir: &Path, path: &[u8], depth: usize) -> Result<(), GitError> {
    let file = dir.join(OsStr::from_bytes(path));
    let metadata = match fs::symlink_metadata(&file) {
        Ok(metadata) => metadata,
        Err(cause) if is_missing(&cause) => {
            hasher.removed(path);
            return Ok(());
        }
        Err(cause) => return Err(cannot_read(&file, cause)),
    };
    let cannot_read = |cause| cannot_read(&file, cause);
    if metadata.is_symlink() {
        let target = fs::read_link(&file).map_err(cannot_read)?;
        hasher.symlink(path, target.as_os_str().as_bytes());
    } else if metadata.is_file() {
        let executable = metadata.permissions().mode() & 0o100 != 0;
        let content = content(&file).map_err(cannot_read)?;
        hasher.file(path, executable, content);
    } else if let (true, Ok(inner)) = (depth < MAX_DEPTH, repository_at(&file, &metadata)) {
        let head = inner.head().ok().and_then(|head| head.target());
        let inner = changes(&inner, &file, &PathSelection::default(), depth + 1)?;
        hasher.repository(path, head.map(Into::into), inner.hasher);
    } else {
        // A folder replaced a file: its content is listed separately.
        hasher.removed(path);
    }
    Ok(())
}

fn is_missing(cause: &io::Error) -> bool {
    matches!(
        cause.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

fn cannot_read(path: &Path, cause: io::Error) -> GitError {
    GitError::file(format!("cannot read {}", path.display()), cause)
}

/// Opens a submodule or another nested repository.
fn repository_at(dir: &Path, metadata: &fs::Metadata) -> Result<Repository, git2::Error> {
    if metadata.is_dir() && fs::symlink_metadata(dir.join(".git")).is_ok() {
        Repository::open(dir)
    } else {
        Err(git2::Error::from_str("not a repository"))
    }
}

/// Returns the SHA-1 of a file's content on disk, which is what a build reads.
fn content(path: &Path) -> io::Result<[u8; 20]> {
    let mut file = File::open(path)?;
    let mut digest = Sha1::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(digest.finalize().into()),
            read => digest.update(&buffer[..read]),
        }
    }
}

#[cfg(test)]
mod tests;
