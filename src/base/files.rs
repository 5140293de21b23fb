//! Atomic file writes.

use std::cell::Cell;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

/// Replaces a file atomically by writing a temporary file and renaming it. An existing file keeps its mode. A
/// symbolic link is followed; a pipe or device is written directly.
///
/// # Errors
///
/// If the folder or file cannot be written.
pub fn replace(path: &Path, text: &str) -> io::Result<()> {
    write(path, text, Durability::ProcessCrash)
}

/// Like [`replace`], and synced to disk.
///
/// # Errors
///
/// If the folder or file cannot be written.
pub fn replace_durably(path: &Path, text: &str) -> io::Result<()> {
    write(path, text, Durability::PowerLoss)
}

/// Creates a file that the user will own. An existing file is an error, unless `replaces` is set: then it is kept as a
/// backup; returns the backup's path.
///
/// # Errors
///
/// If the file exists, or cannot be written.
pub fn write_new(path: &Path, text: &str, replaces: bool) -> io::Result<Option<PathBuf>> {
    let temp = TempSibling::open(path)?;
    temp.fill(text)?;
    // Linking fails if the file exists; renaming would overwrite it.
    match fs::hard_link(&temp.path, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && replaces => {
            let backup = back_up(path)?;
            temp.persist(path)?;
            Ok(Some(backup))
        }
        // Not all file systems have hard links.
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            let mut file = File::create_new(path)?;
            file.write_all(text.as_bytes()).map(|()| None)
        }
        linked => linked.map(|()| None),
    }
}

/// The failure that a written file must survive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Durability {
    ProcessCrash,
    PowerLoss,
}

fn write(path: &Path, text: &str, durability: Durability) -> io::Result<()> {
    let path = match path.canonicalize() {
        Ok(path) if !path.is_file() => return fs::write(path, text),
        Ok(path) => path,
        Err(_) => path.to_owned(),
    };
    let temp = TempSibling::open(&path)?;
    temp.fill(text)?;
    if let Ok(before) = fs::metadata(&path) {
        temp.file.set_permissions(before.permissions())?;
    }
    if durability == Durability::PowerLoss {
        temp.file.sync_all()?;
    }
    temp.persist(&path)?;
    // Sync the new name too, if the file system supports it.
    if durability == Durability::PowerLoss
        && let Some(folder) = path.parent()
        && let Ok(folder) = File::open(folder)
    {
        _ = folder.sync_all();
    }
    Ok(())
}

/// A temporary file next to its target. Its name is fixed, so that leftovers of a killed process are reused, and
/// it is locked, so that only one process writes it at a time.
struct TempSibling {
    path: PathBuf,
    file: File,
    is_persisted: Cell<bool>,
}

impl TempSibling {
    fn open(path: &Path) -> io::Result<Self> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let temp = path.with_file_name(format!(".{name}.new"));
        loop {
            let mut options = File::options();
            options.create(true).truncate(false).write(true);
            // xp never creates a symbolic link here, so do not follow one.
            options.custom_flags(OFlags::NOFOLLOW.bits() as i32);
            let file = match options.open(&temp) {
                Ok(file) => file,
                Err(error) if fs::remove_file(&temp).is_err() => return Err(error),
                Err(_) => continue,
            };
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => file.lock()?,
                // Not all file systems have locks.
                Err(TryLockError::Error(_)) => {}
            }
            // The previous lock holder may have renamed the file.
            let opened = file.metadata()?;
            let is_current = fs::symlink_metadata(&temp)
                .is_ok_and(|found| (found.dev(), found.ino()) == (opened.dev(), opened.ino()));
            if is_current && opened.nlink() == 1 {
                file.set_len(0)?;
                return Ok(Self {
                    path: temp,
                    file,
                    is_persisted: Cell::new(false),
                });
            }
            if is_current {
                // A process was killed after linking it to its target: it is the same file.
                fs::remove_file(&temp)?;
            }
        }
    }

    fn fill(&self, text: &str) -> io::Result<()> {
        (&self.file).write_all(text.as_bytes())
    }

    fn persist(&self, path: &Path) -> io::Result<()> {
        fs::rename(&self.path, path)?;
        self.is_persisted.set(true);
        Ok(())
    }
}

impl Drop for TempSibling {
    fn drop(&mut self) {
        if !self.is_persisted.get() {
            _ = fs::remove_file(&self.path);
        }
    }
}

/// Copies a file to an unused name next to it.
fn back_up(path: &Path) -> io::Result<PathBuf> {
    let text = fs::read(path)?;
    for number in 1.. {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(match number {
            1 => ".old".to_owned(),
            number => format!(".old-{number}"),
        });
        let backup = path.with_file_name(name);
        match File::create_new(&backup) {
            Ok(mut copy) => return copy.write_all(&text).map(|()| backup),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Ok(path.to_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn a_new_file_overwrites_nothing_and_leaves_no_temporary_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x.yml");
        assert_eq!(write_new(&file, "1", false).unwrap(), None);
        assert!(write_new(&file, "2", false).is_err());
        assert_eq!(fs::read_to_string(&file).unwrap(), "1");
        let old = write_new(&file, "2", true).unwrap().unwrap();
        let older = write_new(&file, "3", true).unwrap().unwrap();
        assert_eq!(fs::read_to_string(old).unwrap(), "1");
        assert_eq!(fs::read_to_string(older).unwrap(), "2");
        assert_eq!(fs::read_to_string(&file).unwrap(), "3");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
        assert!(write_new(&folder.path().join("gone/x"), "", false).is_err());
    }

    #[test]
    fn links_and_modes_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("a"), folder.path().join("link"));
        replace(&file, "1").unwrap();
        symlink("a", &link).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        replace_durably(&link, "2").unwrap();
        assert!(link.is_symlink());
        assert_eq!(fs::read_to_string(&file).unwrap(), "2");
        assert_eq!(
            fs::metadata(&file).unwrap().permissions().mode() & 0o777,
            0o640
        );
        replace(Path::new("/dev/null"), "3").unwrap();
        assert!(replace(&folder.path().join("gone/x"), "4").is_err());
    }

    #[test]
    fn leftovers_are_replaced_without_following_links() {
        let folder = tempfile::tempdir().unwrap();
        let (file, temp) = (folder.path().join("x"), folder.path().join(".x.new"));
        let other = folder.path().join("other");
        fs::write(&other, "precious").unwrap();
        symlink("other", &temp).unwrap();
        replace(&file, "1").unwrap();
        fs::hard_link(&file, &temp).unwrap();
        assert!(write_new(&file, "2", false).is_err());
        assert_eq!(fs::read_to_string(&file).unwrap(), "1");
        assert_eq!(fs::read_to_string(&other).unwrap(), "precious");
        assert!(!temp.exists());
    }

    #[test]
    fn concurrent_writers_leave_one_complete_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x");
        // Left by a killed writer.
        fs::write(folder.path().join(".x.new"), "half of a longer text").unwrap();
        let texts: Vec<String> = (0..8)
            .map(|number| number.to_string().repeat(5000))
            .collect();
        std::thread::scope(|scope| {
            for text in &texts {
                let file = &file;
                scope.spawn(move || (0..20).for_each(|_| replace(file, text).unwrap()));
            }
        });
        assert!(texts.contains(&fs::read_to_string(&file).unwrap()));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
