//! One xp at a time on a folder.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::error::{Diagnostic, Exit};
use crate::event::{Event, Events};

/// Held while xp writes to a folder. The system releases it when xp ends, however it ends.
#[derive(Debug)]
pub struct FolderLock {
    _file: File,
}

/// The lock could not be taken.
#[derive(Debug, Error)]
#[error("{} cannot be locked", path.display())]
pub struct LockError {
    path: PathBuf,
    source: io::Error,
}

impl Diagnostic for LockError {
    fn exit(&self) -> Exit {
        Exit::Outside
    }

    fn hints(&self) -> Vec<String> {
        vec![
            "xp keeps its own files there; `cacheDir` or XP_CACHE_DIR names another folder"
                .to_owned(),
        ]
    }
}

/// Takes the lock; waits, and says so, while another xp holds it.
///
/// # Errors
///
/// A folder that cannot be written.
pub async fn lock(path: &Path, events: &Events) -> Result<FolderLock, LockError> {
    let failed = |source| LockError {
        path: path.to_owned(),
        source,
    };
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
        ignore_own_files(folder).map_err(failed)?;
    }
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => return Ok(FolderLock { _file: file }),
        Err(TryLockError::WouldBlock) => {}
        Err(TryLockError::Error(source)) => return Err(failed(source)),
    }
    let folder = path.parent().unwrap_or(path).display();
    events.emit(Event::Note(format!(
        "waiting for another xp that works in {folder}"
    )));
    // Polled, so that Ctrl-C ends the wait at once.
    loop {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        match file.try_lock() {
            Ok(()) => return Ok(FolderLock { _file: file }),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
    }
}

/// Keeps git from listing xp's own files in a platform's repository.
fn ignore_own_files(folder: &Path) -> io::Result<()> {
    match File::options()
        .create_new(true)
        .write(true)
        .open(folder.join(".gitignore"))
    {
        Ok(mut file) => io::Write::write_all(&mut file, b"*\n"),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}
