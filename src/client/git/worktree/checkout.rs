//! Checks out a commit into an empty folder, and writes a matching index.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use git2::build::CheckoutBuilder;
use git2::{Index, IndexEntry, IndexEntryExtendedFlag, IndexEntryFlag, IndexTime, Repository};
use walkdir::WalkDir;

use super::quoted_patterns;
use super::working_copy::oid;
use crate::client::git::lfs;
use crate::client::git::lfs::LfsFiles;
use crate::client::git::progress::OperationContext;
use crate::client::git::{GitClient, GitError};
use crate::model::source::{CommitId, GitUrl, PathSelection};

/// Inputs of a checkout.
#[derive(Clone, Copy)]
pub struct CheckoutRequest<'a> {
    pub commit: CommitId,
    /// The files to write.
    pub selection: &'a PathSelection,
    /// The empty folder for the files.
    pub files: &'a Path,
    /// A folder with a `HEAD`, a configuration and no objects.
    pub git_dir: &'a Path,
    /// The folders with the objects.
    pub objects: &'a [PathBuf],
    /// The remote from which Git LFS files are fetched.
    pub url: &'a GitUrl,
    /// The folder in which Git LFS files are cached.
    pub lfs: &'a Path,
    /// The modification time of all files; `None` for the current time.
    pub modified: Option<SystemTime>,
}

/// A submodule entry of a checked-out tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gitlink {
    /// Its folder in the repository.
    pub path: String,
    pub commit: CommitId,
}

/// Result of a checkout.
pub struct CheckedOutTree {
    /// The submodules; their folders are still empty.
    pub gitlinks: Vec<Gitlink>,
    /// The content of `.gitmodules`.
    pub modules: Option<Vec<u8>>,
}

/// Why a checkout failed. The caller adds the context to libgit2's errors.
pub enum CheckoutError {
    Git(git2::Error),
    Other(GitError),
}

impl From<git2::Error> for CheckoutError {
    fn from(error: git2::Error) -> Self {
        Self::Git(error)
    }
}

impl From<GitError> for CheckoutError {
    fn from(error: GitError) -> Self {
        Self::Other(error)
    }
}

/// Writes the files of a commit. Other files are marked `skip-worktree` in the index, so that
/// git does not report them as deleted.
pub fn check_out(
    client: &GitClient,
    checkout: &CheckoutRequest<'_>,
    watch: &OperationContext<'_>,
) -> Result<CheckedOutTree, CheckoutError> {
    let repository = Repository::open(checkout.git_dir)?;
    let odb = repository.odb()?;
    for folder in checkout.objects {
        odb.add_disk_alternate(&folder.to_string_lossy())?;
    }
    repository.set_workdir(checkout.files, false)?;
    // Read the whole commit into the index before writing any file: libgit2 then finds the attributes of
    // every file, regardless of the write order and of whether `.gitattributes` itself is written.
    let mut index = repository.index()?;
    index.read_tree(&repository.find_commit(oid(checkout.commit)?)?.tree()?)?;
    quoted_patterns::check(&repository, &index, checkout.selection)?;
    let large = lfs::pointers(&repository, &index, checkout.selection)?;
    write_files(&repository, &mut index, checkout.selection, watch)?;
    skip_others(&mut index, checkout.selection)?;
    // git-lfs reads its settings from the index on disk.
    index.write()?;
    if !large.is_empty() {
        let files = LfsFiles {
            git_dir: checkout.git_dir,
            work_tree: checkout.files,
            objects: checkout.objects,
            url: checkout.url,
            storage: checkout.lfs,
        };
        lfs::fetch(client, &files, &large, watch)?;
    }
    let changed = normalize(checkout.files, checkout.modified)?;
    for path in changed {
        refresh(&mut index, checkout.files, &path, false)?;
    }
    for pointer in &large {
        // The content differs from git's blob, and only git-lfs can tell that it is unmodified.
        refresh(&mut index, checkout.files, Path::new(&pointer.path), true)?;
    }
    index.write()?;
    Ok(CheckedOutTree {
        gitlinks: gitlinks(&index, checkout.selection),
        modules: modules(&repository, &index)?,
    })
}

fn write_files(
    repository: &Repository,
    index: &mut Index,
    selection: &PathSelection,
    watch: &OperationContext<'_>,
) -> Result<(), git2::Error> {
    let mut options = CheckoutBuilder::new();
    options
        .force()
        .progress(|_, done, total| watch.checkout(done, total));
    if !selection.is_whole() {
        // Take `*` and `[` literally.
        options.disable_pathspec_match(true);
    }
    if selection.exclude.is_empty() && selection.only.is_none() {
        for path in &selection.paths {
            options.path(path);
        }
    } else {
        let mut is_empty = true;
        for entry in index.iter().filter(|it| selection.includes(&it.path)) {
            options.path(entry.path);
            is_empty = false;
        }
        if is_empty {
            // No path would mean all files.
            return Ok(());
        }
    }
    repository.checkout_index(Some(index), Some(&mut options))
}

fn skip_others(index: &mut Index, selection: &PathSelection) -> Result<(), git2::Error> {
    if selection.is_whole() {
        return Ok(());
    }
    let others: Vec<IndexEntry> = index
        .iter()
        .filter(|entry| !selection.includes(&entry.path))
        .collect();
    for mut entry in others {
        entry.flags_extended |= IndexEntryExtendedFlag::SKIP_WORKTREE.bits();
        index.add(&entry)?;
    }
    Ok(())
}

/// Sets the modes of files and folders to those of git, regardless of the umask, and times. Returns the changed files,
/// relative to the folder.
fn normalize(files: &Path, modified: Option<SystemTime>) -> Result<Vec<PathBuf>, GitError> {
    let failed = |path: &Path, cause: io::Error| {
        GitError::file(format!("cannot set the mode of {}", path.display()), cause)
    };
    let mut changed = Vec::new();
    for entry in WalkDir::new(files) {
        let entry = entry.map_err(|cause| failed(files, cause.into()))?;
        if entry.file_type().is_symlink() {
            continue;
        }
        let mode = entry
            .metadata()
            .map_err(|cause| failed(entry.path(), cause.into()))?
            .permissions()
            .mode();
        let wanted = if entry.file_type().is_dir() || mode & 0o100 != 0 {
            0o755
        } else {
            0o644
        };
        let is_other = mode & 0o7777 != wanted;
        if is_other {
            fs::set_permissions(entry.path(), fs::Permissions::from_mode(wanted))
                .map_err(|cause| failed(entry.path(), cause))?;
        }
        let time = modified.filter(|_| entry.file_type().is_file());
        if let Some(time) = time {
            // Opened for reading, because it may not be writable.
            let file = fs::File::open(entry.path());
            file.and_then(|file| file.set_modified(time))
                .map_err(|cause| failed(entry.path(), cause))?;
        }
        if entry.file_type().is_file() && (is_other || time.is_some()) {
            let path = entry.path();
            changed.push(path.strip_prefix(files).unwrap_or(path).to_owned());
        }
    }
    Ok(changed)
}

/// Updates the stat data of a file in the index: changing its mode changed its ctime.
fn refresh(
    index: &mut Index,
    files: &Path,
    path: &Path,
    assume_unchanged: bool,
) -> Result<(), CheckoutError> {
    let Some(mut entry) = index.get_path(path, 0) else {
        return Ok(());
    };
    let file = files.join(path);
    let metadata = fs::symlink_metadata(&file)
        .map_err(|cause| GitError::file(format!("cannot read {}", file.display()), cause))?;
    copy_stat(&mut entry, &metadata);
    if assume_unchanged {
        entry.flags |= IndexEntryFlag::VALID.bits();
    }
    Ok(index.add(&entry)?)
}

/// Copies the stat data; the index stores only 32 bits of each field, and git compares only those.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the index keeps the low 32 bits"
)]
fn copy_stat(entry: &mut IndexEntry, metadata: &Metadata) {
    entry.ctime = IndexTime::new(metadata.ctime() as i32, metadata.ctime_nsec() as u32);
    entry.mtime = IndexTime::new(metadata.mtime() as i32, metadata.mtime_nsec() as u32);
    entry.dev = metadata.dev() as u32;
    entry.ino = metadata.ino() as u32;
    entry.uid = metadata.uid();
    entry.gid = metadata.gid();
    entry.file_size = metadata.size() as u32;
}

fn gitlinks(index: &Index, selection: &PathSelection) -> Vec<Gitlink> {
    index
        .iter()
        .filter(|entry| entry.mode == 0o160_000 && selection.includes(&entry.path))
        .map(|entry| Gitlink {
            path: String::from_utf8_lossy(&entry.path).into_owned(),
            commit: entry.id.into(),
        })
        .collect()
}

fn modules(repository: &Repository, index: &Index) -> Result<Option<Vec<u8>>, git2::Error> {
    let name = Path::new(std::ffi::OsStr::from_bytes(b".gitmodules"));
    match index.get_path(name, 0) {
        // A symlink could point anywhere.
        Some(entry) if entry.mode & 0o170_000 == 0o100_000 => {
            Ok(Some(repository.find_blob(entry.id)?.content().to_vec()))
        }
        _ => Ok(None),
    }
}
