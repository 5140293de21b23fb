//! Notes of the working copies that xp is at work in.
//!
//! libgit2 takes locks as git does: as files, which stay where their process was killed, and then stop
//! everybody. A note that nobody holds any more tells that the locks since then are nobody's.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::staging::key_of;
use crate::client::git::remove_leftovers;

/// Held while a working copy may be written to; whatever is dropped in order leaves no note.
pub(super) struct AtWork {
    note: Option<(PathBuf, File)>,
}

impl AtWork {
    /// Makes a note below a folder of xp's own, after what was begun in the working copy by an xp that was
    /// killed is removed.
    ///
    /// It is not needed for the work: where it cannot be written, or another one is held, there is none.
    pub(super) fn begin(notes: &Path, dir: &Path) -> Self {
        Self {
            note: note(notes, dir),
        }
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        if let Some((path, _)) = &self.note {
            _ = fs::remove_file(path);
        }
    }
}

fn note(notes: &Path, dir: &Path) -> Option<(PathBuf, File)> {
    let path = notes.join(format!("at-work-{}", key_of(dir)));
    if let Ok(left) = File::options().write(true).open(&path) {
        // Who holds it is at work there now, one call further up or in another process.
        left.try_lock().ok()?;
        let since = left.metadata().and_then(|it| it.modified()).ok()?;
        if !remove_leftovers(dir, since) {
            // It tells the next run from when on.
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
    fn locks_of_a_killed_run_are_removed_and_those_of_others_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let (notes, dir) = (folder.path().join("notes"), folder.path().join("copy"));
        git2::Repository::init(&dir).unwrap();
        let lock = dir.join(".git/packed-refs.lock");
        let leave_lock = || fs::write(&lock, "").unwrap();

        // Of a run that ended in order nothing is known.
        leave_lock();
        drop(AtWork::begin(&notes, &dir));
        assert!(lock.exists());
        assert_eq!(fs::read_dir(&notes).unwrap().count(), 0);
        fs::remove_file(&lock).unwrap();

        // One that is killed leaves its note, which nobody holds.
        let mut killed = AtWork::begin(&notes, &dir);
        let (_, file) = killed.note.take().unwrap();
        leave_lock();
        let held = AtWork::begin(&notes, &dir);
        assert!(held.note.is_none() && lock.exists());
        drop((file, held));
        let next = AtWork::begin(&notes, &dir);
        assert!(next.note.is_some() && !lock.exists());
        drop(next);
        assert_eq!(fs::read_dir(&notes).unwrap().count(), 0);
    }
}
