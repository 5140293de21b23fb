//! Session locks: a locked file for each container that works on a working copy.
//!
//! xp holds the lock while the container runs, and the system releases it when xp exits for any reason. This
//! distinguishes containers in use from leftovers without locking `cacheDir`.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process;

use super::step_error::StepError;
use crate::model::layout::Layout;
use crate::store::cache::claim;
use crate::store::claim::LockError;

/// A file that is locked while a container runs.
///
/// It lists mount points: those that its own xp creates, so that another xp can remove them if that one is
/// killed, and those handed over by others: while one container has something mounted on a folder, another
/// one that ends must not remove the folder.
pub struct SessionLock {
    path: PathBuf,
    file: File,
}

impl SessionLock {
    /// Creates a lock file.
    ///
    /// # Errors
    ///
    /// If `cacheDir` cannot be written or contains other files.
    pub fn new(layout: &Layout) -> Result<Self, StepError> {
        let folder = layout.sessions();
        let failed = |error: io::Error| {
            StepError::plain(format!("cannot write to {}: {error}", folder.display())).hint(
                "xp requires a separate folder for its cache: set `cacheDir` or XP_CACHE_DIR to another folder",
            )
        };
        if !claim(layout.root()).map_err(failed)? {
            return Err(LockError::Foreign(layout.root().to_owned()).into());
        }
        fs::create_dir_all(&folder).map_err(failed)?;
        let mut number: u64 = 0;
        loop {
            // Processes in two containers may have the same id.
            let path = folder.join(format!("{}-{number}", process::id()));
            if let Some(lock) = Self::take(&path).map_err(failed)? {
                return Ok(lock);
            }
            number += 1;
        }
    }

    /// Locks a file; returns `None` if another xp holds it.
    pub(super) fn take(path: &Path) -> io::Result<Option<Self>> {
        let file = File::options().create(true).append(true).open(path)?;
        // A file removed between opening and locking does not count.
        Ok((file.try_lock().is_ok() && path.exists()).then(|| Self {
            path: path.to_owned(),
            file,
        }))
    }

    /// Returns the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Records mount points before they are created.
    pub fn record<'p>(&self, mount_points: impl Iterator<Item = &'p Path>) {
        let lines: String = mount_points
            .map(|point| format!("{}\n", point.display()))
            .collect();
        // If this fails, mount points are left behind only if xp is killed.
        _ = (&self.file).write_all(lines.as_bytes());
    }

    /// Returns the mount points to remove now, these and those handed over by others, the innermost first.
    ///
    /// If another container is running, all of them are handed over to it instead.
    pub fn mount_points_to_remove(&self, mount_points: &[PathBuf]) -> Vec<PathBuf> {
        let left = fs::read_to_string(&self.path).unwrap_or_default();
        let mut points: Vec<PathBuf> = left.lines().map(PathBuf::from).collect();
        points.extend(mount_points.iter().cloned());
        points.sort_unstable_by(|a, b| b.cmp(a));
        points.dedup();
        match self.another() {
            Some(mut other) if !points.is_empty() => {
                let lines = points.iter().map(|point| format!("{}\n", point.display()));
                match other.write_all(lines.collect::<String>().as_bytes()) {
                    Ok(()) => Vec::new(),
                    Err(_) => points,
                }
            }
            _ => points,
        }
    }

    /// Returns the lock file of another running container.
    fn another(&self) -> Option<File> {
        let entries = fs::read_dir(self.path.parent()?).ok()?.flatten();
        let paths = entries.map(|entry| entry.path());
        let mut others = paths.filter(|path| *path != self.path);
        others.find_map(|path| {
            let file = File::options().append(true).open(path).ok()?;
            // If it can be locked, its xp is gone.
            file.try_lock().is_err().then_some(file)
        })
    }
}

impl Drop for SessionLock {
    fn drop(&mut self) {
        _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_held_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("1-0");
        let lock = SessionLock::take(&path).unwrap().unwrap();
        assert!(SessionLock::take(&path).unwrap().is_none());
        drop(lock);
        assert!(!path.exists());
        drop(SessionLock::take(&path).unwrap().unwrap());
    }

    #[test]
    fn the_last_one_removes_all_mount_points() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(folder.path().join("own"));
        let points = |names: &[&str]| names.iter().map(PathBuf::from).collect::<Vec<_>>();
        let first = SessionLock::new(&layout).unwrap();
        let second = SessionLock::new(&layout).unwrap();
        // A killed one leaves its file, and nothing is handed over to it.
        let killed = layout.sessions().join("0-0");
        fs::write(&killed, "/k\n/k/l\n").unwrap();
        assert_eq!(
            first.mount_points_to_remove(&points(&["/a", "/a/b"])),
            points(&[])
        );
        drop(first);
        assert_eq!(
            second.mount_points_to_remove(&points(&["/c"])),
            points(&["/c", "/a/b", "/a"])
        );
        drop(second);
        // The next one removes what it was about to create.
        let found = SessionLock::take(&killed).unwrap().unwrap();
        assert_eq!(found.mount_points_to_remove(&[]), points(&["/k/l", "/k"]));
        drop(found);
        let third = SessionLock::new(&layout).unwrap();
        third.record([Path::new("/d")].into_iter());
        assert_eq!(fs::read_to_string(third.path()).unwrap(), "/d\n");
    }
}
