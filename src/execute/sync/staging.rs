//! Staging folders for incomplete clones.
//!
//! A complete clone is moved to its destination with one `rename`, so a killed run never leaves a partial
//! clone there. The next run removes leftovers in the staging folder: each entry is locked by its run, and
//! the lock is released with the process.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use sha1::{Digest, Sha1};

use super::SyncError;
use crate::client::git::remove_tree;

/// A locked folder for one clone, removed on drop.
pub(super) struct Staging {
    folder: PathBuf,
    _lock: File,
}

impl Staging {
    /// Creates the folder for the clone of one working copy.
    pub(super) fn for_dir(staging_dir: &Path, dir: &Path) -> Result<Self, SyncError> {
        let parent = parent_of(dir);
        make_folder(staging_dir)?;
        make_folder(&parent)?;
        let key = key_of(dir);
        let mut staging = Self::lock(staging_dir.join(format!("clone-{key}")))?;
        if !staging.can_be_renamed_into(&parent, &key)? {
            // A rename cannot cross file systems, so stage next to the destination.
            staging = Self::lock(parent.join(format!(".xp-clone-{key}")))?;
        }
        remove_tree(&staging.clone_dir())?;
        Ok(staging)
    }

    /// Returns the folder to clone into.
    pub(super) fn clone_dir(&self) -> PathBuf {
        self.folder.join("clone")
    }

    /// Moves the complete clone to its destination, which is empty or does not exist.
    pub(super) fn move_into_place(&self, dir: &Path) -> Result<(), SyncError> {
        fs::rename(self.clone_dir(), dir).map_err(|cause| SyncError::Folder {
            what: "move the clone to",
            path: dir.to_owned(),
            cause,
        })
    }

    fn lock(folder: PathBuf) -> Result<Self, SyncError> {
        let failed = |cause| SyncError::Folder {
            what: "lock",
            path: folder.clone(),
            cause,
        };
        loop {
            make_folder(&folder)?;
            let lock = match File::open(&folder) {
                // Another thread removed it as stale, because it was not locked yet.
                Err(cause) if cause.kind() == io::ErrorKind::NotFound => continue,
                lock => lock.map_err(failed)?,
            };
            lock.lock().map_err(failed)?;
            if is_still_at(&lock, &folder) {
                return Ok(Self {
                    folder,
                    _lock: lock,
                });
            }
        }
    }

    fn can_be_renamed_into(&self, parent: &Path, key: &str) -> Result<bool, SyncError> {
        let (probe, moved) = (
            self.folder.join("probe"),
            parent.join(format!(".xp-probe-{key}")),
        );
        make_folder(&probe)?;
        match fs::rename(&probe, &moved) {
            Ok(()) => {
                let _ = fs::remove_dir(&moved);
                Ok(true)
            }
            Err(cause) if cause.kind() == io::ErrorKind::CrossesDevices => Ok(false),
            Err(cause) => Err(SyncError::Folder {
                what: "write to",
                path: parent.to_owned(),
                cause,
            }),
        }
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // A later run removes what remains.
        let _ = remove_tree(&self.folder);
    }
}

/// Returns a unique name for a working copy.
pub(super) fn key_of(dir: &Path) -> String {
    let mut key = hex::encode(Sha1::digest(dir.as_os_str().as_encoded_bytes()));
    key.truncate(16);
    key
}

/// Removes leftovers of killed runs.
pub(super) fn remove_stale(staging_dir: &Path) {
    let Ok(entries) = fs::read_dir(staging_dir) else {
        return;
    };
    for entry in entries.flatten() {
        let is_clone = entry.file_name().to_string_lossy().starts_with("clone-");
        if let Ok(lock) = File::open(entry.path())
            && is_clone
            && lock.try_lock().is_ok()
            && is_still_at(&lock, &entry.path())
        {
            let _ = remove_tree(&entry.path());
        }
    }
}

/// Returns whether a locked folder is still the one at its path: a previous holder may have removed it, and another
/// process may have created a new one.
fn is_still_at(lock: &File, path: &Path) -> bool {
    match (lock.metadata(), fs::metadata(path)) {
        (Ok(locked), Ok(there)) => locked.ino() == there.ino() && locked.dev() == there.dev(),
        _ => false,
    }
}

fn make_folder(path: &Path) -> Result<(), SyncError> {
    fs::create_dir_all(path).map_err(|cause| SyncError::Folder {
        what: "create the folder",
        path: path.to_owned(),
        cause,
    })
}

fn parent_of(dir: &Path) -> PathBuf {
    match dir.parent() {
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}
