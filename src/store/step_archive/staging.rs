//! The folder in which an archive is unpacked.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use super::ArchiveError;
use crate::base::nonce::nonce;
use crate::base::tree;

/// A folder next to the target, so that a rename moves what is in it; removed when dropped.
///
/// It is locked while it is in use, so that what a killed process left is recognized, and removed by the next one.
pub(super) struct Staging {
    path: PathBuf,
    _lock: File,
}

impl Staging {
    /// Creates the folder.
    pub fn create(target: &Path) -> Result<Self, ArchiveError> {
        let parent = target.parent().unwrap_or(target);
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        let prefix = format!(".{name}.restore-");
        remove_leftovers(parent, &prefix);
        let (path, lock) = loop {
            let path = parent.join(format!("{prefix}{}", nonce()));
            let failed = || ArchiveError::file("create", &path);
            // Other users cannot create a link in it.
            let mut folder = DirBuilder::new();
            folder.mode(0o700).create(&path).map_err(failed())?;
            match File::open(&path) {
                Ok(lock) => {
                    // Not all file systems have locks.
                    _ = lock.lock();
                    // Another process may have seen it before it was locked.
                    if path.exists() {
                        break (path, lock);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(failed()(error)),
            }
        };
        let failed = || ArchiveError::file("create", &path);
        for folder in ["new", "old"] {
            fs::create_dir(path.join(folder)).map_err(failed())?;
        }
        Ok(Self { path, _lock: lock })
    }

    /// Returns the folder for the content of the archive.
    pub fn unpacked(&self) -> PathBuf {
        self.path.join("new")
    }

    /// Returns the folder for what is replaced.
    pub fn replaced(&self) -> PathBuf {
        self.path.join("old")
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // The next process removes it otherwise.
        _ = tree::remove(&self.path);
    }
}

fn remove_leftovers(parent: &Path, prefix: &str) {
    let Ok(entries) = fs::read_dir(parent) else {
        return;
    };
    for entry in entries.flatten() {
        let is_staging = entry.file_name().to_string_lossy().starts_with(prefix);
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if is_staging
            && is_folder
            && let Ok(folder) = File::open(entry.path())
            && folder.try_lock().is_ok()
        {
            _ = tree::remove(&entry.path());
        }
    }
}
