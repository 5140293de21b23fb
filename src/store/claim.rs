//! The lock of a folder: one xp at a time.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process;

use thiserror::Error;

use crate::base::error::{Diagnostic, Exit};
use crate::model::event::{Event, Events};
use crate::store::cache::claim;

/// Held while xp writes to a folder; the system releases it when xp exits for any reason.
#[derive(Debug)]
pub struct FolderLock {
    _file: File,
}

impl FolderLock {
    /// Writes the process id to the lock file, for other processes that wait.
    fn held(file: File) -> Self {
        let written = file
            .set_len(0)
            .and_then(|()| writeln!(&file, "{}", process::id()));
        // Not essential, and fails on a full disk.
        _ = written;
        Self { _file: file }
    }
}

/// The lock cannot be taken.
#[derive(Debug, Error)]
pub enum LockError {
    /// A file cannot be written.
    #[error("cannot lock {}", path.display())]
    File {
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The folder contains other files, which xp would overwrite.
    #[error("{} contains files that xp did not create", .0.display())]
    Foreign(PathBuf),
}

impl Diagnostic for LockError {
    fn exit(&self) -> Exit {
        match self {
            Self::File { .. } => Exit::Outside,
            Self::Foreign(_) => Exit::Usage,
        }
    }

    fn hints(&self) -> Vec<String> {
        let folder = match self {
            Self::File { .. } => "another folder",
            Self::Foreign(_) => "a new or empty folder",
        };
        vec![format!(
            "xp requires a separate folder for its cache: set `cacheDir` or XP_CACHE_DIR to {folder}"
        )]
    }
}

/// Takes the lock; waits with a note while another xp holds it.
///
/// # Errors
///
/// If the folder cannot be written, or contains other files.
pub async fn lock(path: &Path, events: &Events) -> Result<FolderLock, LockError> {
    let failed = |source| LockError::File {
        path: path.to_owned(),
        source,
    };
    if let Some(folder) = path.parent()
        && folder.exists()
        && !folder.is_dir()
    {
        return Err(failed(io::Error::other(format!(
            "{} is not a folder",
            folder.display()
        ))));
    }
    if let Some(folder) = path.parent()
        && !claim(folder).map_err(failed)?
    {
        return Err(LockError::Foreign(folder.to_owned()));
    }
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => return Ok(FolderLock::held(file)),
        Err(TryLockError::WouldBlock) => {}
        Err(TryLockError::Error(source)) => return Err(failed(source)),
    }
    let folder = path.parent().unwrap_or(path).display();
    // The ID may belong to another PID namespace, so print it last.
    let holder = fs::read_to_string(path).ok();
    let holder = holder.and_then(|text| text.trim().parse::<u32>().ok());
    let holder = holder.map_or_else(String::new, |process| format!(" (process {process})"));
    events.emit(Event::note(format!(
        "waiting for another xp working in {folder}{holder}"
    )));
    // Polled, so that Ctrl-C interrupts the wait.
    loop {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        match file.try_lock() {
            Ok(()) => return Ok(FolderLock::held(file)),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_folder_with_other_files_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let events = Events::new(|_| ());
        let own = folder.path().join("own/lock");
        drop(lock(&own, &events).await.unwrap());
        drop(lock(&own, &events).await.unwrap());
        fs::write(folder.path().join("thesis.txt"), "precious").unwrap();
        let error = lock(&folder.path().join("lock"), &events)
            .await
            .unwrap_err();
        assert!(matches!(error, LockError::Foreign(_)), "{error}");
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            2,
            "nothing was written"
        );
    }
}
