//! Notes about working copies in use by xp.
//!
//! libgit2 takes locks like git: as files, which remain if the process is killed, and then block other processes. A
//! note that is no longer locked means that lock files since then are stale.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::staging::key_of;
use crate::client::git::remove_stale_locks;

/// Held while a working copy may be written to; removes the note when dropped.
pub(super) struct InUseNote {
    note: Option<(PathBuf, File)>,
}

impl InUseNote {
    /// Creates a note in xp's own folder, after removing leftovers of a killed xp in the working copy.
    ///
    /// The note is optional: there is none if it cannot be written, or if another one is held.
    pub(super) fn begin(notes: &Path, dir: &Path) -> Self {
        Self {
            note: note(notes, dir),
        }
    }
}

impl Drop for InUseNote {
    fn drop(&mut self) {
        if let Some((path, _)) = &self.note {
            _ = fs::remove_file(path);
        }
    }
}

fn note(notes: &Path, dir: &Path) -> Option<(PathBuf, File)> {
    let path = notes.join(format!("at-work-{}", key_of(dir)));
    if let Ok(left) = File::options().write(true).open(&path) {
        // A holder is using it now, further up the call stack or in another process.
        left.try_lock().ok()?;
        let since = left.metadata().and_then(|it| it.modified()).ok()?;
        if !remove_stale_locks(dir, since) {
            // Keep the note: the next run needs its time.
            return None;
        }
        _ = fs::remove_file(&path);
    }
    fs::create_dir_all(notes).ok()?;
    let note = File::create_new(&path).ok()?;
    note.try_lock().ok()?;
    Some((path, note))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_stale_locks_of_a_killed_run_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let (notes, dir) = (folder.path().join("notes"), folder.path().join("copy"));
        git2::Repository::init(&dir).unwrap();
        let lock = dir.join(".git/packed-refs.lock");
        let leave_lock = || fs::write(&lock, "").unwrap();

        // A run that ended normally leaves no note, so another program may hold the lock.
        leave_lock();
        drop(InUseNote::begin(&notes, &dir));
        assert!(lock.exists());
        assert_eq!(fs::read_dir(&notes).unwrap().count(), 0);
        fs::remove_file(&lock).unwrap();

        // A killed run leaves an unlocked note.
        let mut killed = InUseNote::begin(&notes, &dir);
        let (_, file) = killed.note.take().unwrap();
        leave_lock();
        let held = InUseNote::begin(&notes, &dir);
        assert!(held.note.is_none() && lock.exists());
        drop((file, held));
        let next = InUseNote::begin(&notes, &dir);
        assert!(next.note.is_some() && !lock.exists());
        drop(next);
        assert_eq!(fs::read_dir(&notes).unwrap().count(), 0);
    }
}
