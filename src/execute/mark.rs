//! Signs of life: a file for each container that works on a working copy.
//!
//! An xp holds the file locked as long as the container runs; the system gives the lock up when xp ends,
//! however it ends. So no lock of `cacheDir` is needed to tell what is at work from what was left.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process;

use super::lock::LockError;
use super::stop::StepError;
use crate::cache::claim;
use crate::plan::Layout;

/// A file that is locked as long as a container runs.
///
/// What stands in it are the mount points that its own xp makes, which whoever finds the file removes if that
/// xp is killed, and those that others left to it: while one container has something mounted upon a folder,
/// another one that ends must not remove the folder.
pub struct Mark {
    path: PathBuf,
    file: File,
}

impl Mark {
    /// Makes a file of its own.
    ///
    /// # Errors
    ///
    /// A `cacheDir` that cannot be written, or holds the files of others.
    pub fn new(layout: &Layout) -> Result<Self, StepError> {
        let folder = layout.sessions();
        let failed = |error: io::Error| {
            StepError::plain(format!("{} cannot be written: {error}", folder.display())).hint(
                "xp keeps its own files there; let `cacheDir` or XP_CACHE_DIR name another folder",
            )
        };
        if !claim(layout.root()).map_err(failed)? {
            return Err(LockError::Foreign(layout.root().to_owned()).into());
        }
        fs::create_dir_all(&folder).map_err(failed)?;
        let mut number: u64 = 0;
        loop {
            // Processes of two containers may have the same number.
            let path = folder.join(format!("{}-{number}", process::id()));
            if let Some(mark) = Self::take(&path).map_err(failed)? {
                return Ok(mark);
            }
            number += 1;
        }
    }

    /// Locks a file; none where another xp has it.
    pub(super) fn take(path: &Path) -> io::Result<Option<Self>> {
        let file = File::options().create(true).append(true).open(path)?;
        // One that was removed between the two is nobody's sign of life.
        Ok((file.try_lock().is_ok() && path.exists()).then(|| Self {
            path: path.to_owned(),
            file,
        }))
    }

    /// Returns the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Notes mount points that are about to be made.
    pub fn will_make<'p>(&self, mount_points: impl Iterator<Item = &'p Path>) {
        let lines: String = mount_points
            .map(|point| format!("{}\n", point.display()))
            .collect();
        // Where that cannot be written, only those of a killed xp stay.
        _ = (&self.file).write_all(lines.as_bytes());
    }

    /// Returns which of these mount points are to be removed now, and what others left, the innermost first:
    /// none where another container is at work, to which they are left.
    pub fn to_be_removed(&self, mount_points: &[PathBuf]) -> Vec<PathBuf> {
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

    /// Returns the file of another one that is at work.
    fn another(&self) -> Option<File> {
        let entries = fs::read_dir(self.path.parent()?).ok()?.flatten();
        let paths = entries.map(|entry| entry.path());
        let mut others = paths.filter(|path| *path != self.path);
        others.find_map(|path| {
            let file = File::options().append(true).open(path).ok()?;
            // Dropped at once where it could be locked: its xp is gone.
            file.try_lock().is_err().then_some(file)
        })
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_held_by_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("1-0");
        let mark = Mark::take(&path).unwrap().unwrap();
        assert!(Mark::take(&path).unwrap().is_none());
        drop(mark);
        assert!(!path.exists());
        drop(Mark::take(&path).unwrap().unwrap());
    }

    #[test]
    fn the_last_one_removes_what_was_mounted_upon() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(folder.path().join("own"));
        let points = |names: &[&str]| names.iter().map(PathBuf::from).collect::<Vec<_>>();
        let first = Mark::new(&layout).unwrap();
        let second = Mark::new(&layout).unwrap();
        // One that was killed left its file, and takes nothing over.
        let killed = layout.sessions().join("0-0");
        fs::write(&killed, "/k\n/k/l\n").unwrap();
        assert_eq!(first.to_be_removed(&points(&["/a", "/a/b"])), points(&[]));
        drop(first);
        assert_eq!(
            second.to_be_removed(&points(&["/c"])),
            points(&["/c", "/a/b", "/a"])
        );
        drop(second);
        // Whoever finds it removes what it was about to make.
        let found = Mark::take(&killed).unwrap().unwrap();
        assert_eq!(found.to_be_removed(&[]), points(&["/k/l", "/k"]));
        drop(found);
        let third = Mark::new(&layout).unwrap();
        third.will_make([Path::new("/d")].into_iter());
        assert_eq!(fs::read_to_string(third.path()).unwrap(), "/d\n");
    }
}
