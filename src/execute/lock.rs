//! One xp at a time on a folder.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::error::{Diagnostic, Exit};
use crate::event::{Event, Events};

/// The file by which xp knows a folder as its own, and backup programs a cache
/// (<https://bford.info/cachedir/>).
const TAG: &str = "CACHEDIR.TAG";

const TAG_TEXT: &str = "Signature: 8a477f597d28d172789f06886806bc55\n\
    # This folder was made by xp, which removes and replaces what is in it.\n";

/// Held while xp writes to a folder. The system releases it when xp ends, however it ends.
#[derive(Debug)]
pub struct FolderLock {
    _file: File,
}

/// The lock could not be taken.
#[derive(Debug, Error)]
pub enum LockError {
    /// The folder or a file in it cannot be written.
    #[error("{} cannot be written", path.display())]
    File {
        /// The folder, or the lock's file.
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
    if let Some(folder) = path.parent() {
        claim(folder)?;
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

/// Makes a folder xp's own, and marks it as such.
///
/// # Errors
///
/// It holds files that xp did not make, or cannot be written.
pub fn claim(folder: &Path) -> Result<(), LockError> {
    let failed = |source| LockError::File {
        path: folder.to_owned(),
        source,
    };
    fs::create_dir_all(folder).map_err(failed)?;
    if !is_own_or_empty(folder).map_err(failed)? {
        return Err(LockError::Foreign(folder.to_owned()));
    }
    write_once(&folder.join(TAG), TAG_TEXT).map_err(failed)?;
    // Keeps git from listing xp's own files in a platform's repository.
    write_once(&folder.join(".gitignore"), "*\n").map_err(failed)
}

/// Tells whether a folder is xp's: what is in it may be removed without asking.
fn is_own_or_empty(folder: &Path) -> io::Result<bool> {
    let is_tagged = fs::read_to_string(folder.join(TAG)).is_ok_and(|text| text == TAG_TEXT);
    Ok(is_tagged || fs::read_dir(folder)?.next().is_none())
}

fn write_once(path: &Path, text: &str) -> io::Result<()> {
    match File::options().create_new(true).write(true).open(path) {
        Ok(mut file) => io::Write::write_all(&mut file, text.as_bytes()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
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
