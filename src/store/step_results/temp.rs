//! Archives that are being written.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::names;
use crate::base::nonce::nonce;

/// A file to which an archive is written before it is saved; removed when dropped.
///
/// It is locked, so that what a killed process left is recognized.
#[derive(Debug)]
pub struct TempArchive {
    file: File,
    path: PathBuf,
}

impl TempArchive {
    pub(super) fn create(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        loop {
            let path = folder.join(nonce());
            let mut options = File::options();
            options.read(true).write(true).create_new(true);
            let file = options.open(&path)?;
            // Not all file systems have locks.
            _ = file.lock();
            // Another process may have seen it before it was locked.
            if path.exists() {
                return Ok(Self { file, path });
            }
        }
    }

    /// Removes the files of processes that were killed.
    pub(super) fn remove_leftovers(folder: &Path) {
        for (path, _) in names(folder) {
            // Locked until it is removed.
            if let Ok(file) = File::open(&path)
                && file.try_lock().is_ok()
            {
                _ = fs::remove_file(path);
            }
        }
    }

    /// Returns the file, which is open for reading and writing.
    pub fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// Moves the file, which has `bytes` bytes.
    pub(super) fn persist(self, bytes: u64, to: &Path) -> io::Result<()> {
        if self.file.metadata()?.len() != bytes {
            return Err(io::Error::other("the archive does not have its size"));
        }
        fs::rename(&self.path, to)
    }
}

impl Drop for TempArchive {
    fn drop(&mut self) {
        // It no longer exists if it was saved.
        _ = fs::remove_file(&self.path);
    }
}
