//! One xp at a time on a folder.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process;

use thiserror::Error;

use crate::cache::claim;
use crate::error::{Diagnostic, Exit};
use crate::event::{Event, Events};

/// Held while xp writes to a folder. The system releases it when xp ends, however it ends.
#[derive(Debug)]
pub struct FolderLock {
    _file: File,
}

impl FolderLock {
    /// Notes whose the lock is, for those who wait.
    fn held(file: File) -> Self {
        let noted = file
            .set_len(0)
            .and_then(|()| writeln!(&file, "{}", process::id()));
        // On a full disk nobody is told.
        _ = noted;
        Self { _file: file }
    }
}

/// The lock could not be taken.
#[derive(Debug, Error)]
pub enum LockError {
    /// A file cannot be written.
    #[error("{} cannot be locked", path.display())]
    File {
        /// The lock's file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The folder holds other files, which xp would replace by its own.
    #[error("{} holds files that xp did not make", .0.display())]
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
        let which = match self {
            Self::File { .. } => "another folder",
            Self::Foreign(_) => "a new or an empty folder",
        };
        vec![format!(
            "xp keeps its own files there; let `cacheDir` or XP_CACHE_DIR name {which}"
        )]
    }
}

/// Takes the lock; waits, and says so, while another xp holds it.
///
/// # Errors
///
/// A folder that cannot be written.
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
    // In a container of its own it has another number than here, so it is told last.
    let holder = fs::read_to_string(path).ok();
    let holder = holder.and_then(|text| text.trim().parse::<u32>().ok());
    let holder = holder.map_or_else(String::new, |process| format!(": process {process}"));
    events.emit(Event::Note(format!(
        "waiting for another xp that works in {folder}{holder}"
    )));
    // Polled, so that Ctrl-C ends the wait at once.
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
