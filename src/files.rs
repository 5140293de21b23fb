//! Files that are written whole or not at all.

use std::cell::Cell;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

/// Writes a file beside its place, and moves it there: whoever looks sees the old one or the new one,
/// and a file that was there keeps its mode. Behind a link, the file is replaced that it leads to; a pipe
/// or a device is written as it is.
///
/// # Errors
///
/// A folder or file that cannot be written.
pub fn replace(path: &Path, text: &str) -> io::Result<()> {
    write(path, text, Outlives::Process)
}

/// Like [`replace`], for what must be there after a loss of power as well.
///
/// # Errors
///
/// A folder or file that cannot be written.
pub fn replace_durably(path: &Path, text: &str) -> io::Result<()> {
    write(path, text, Outlives::Power)
}

/// Writes a file that a person will own. One that is there is an error, unless it is to be replaced: then
/// it is kept under the name that is returned.
///
/// # Errors
///
/// There is such a file, or it cannot be written.
pub fn write_new(path: &Path, text: &str, replaces: bool) -> io::Result<Option<PathBuf>> {
    let beside = Beside::open(path)?;
    beside.fill(text)?;
    // A link, not a move: it fails where somebody else was faster.
    match fs::hard_link(&beside.path, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && replaces => {
            let kept = keep(path)?;
            beside.place(path)?;
            Ok(Some(kept))
        }
        // Not every file system has hard links.
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            let mut file = File::create_new(path)?;
            file.write_all(text.as_bytes()).map(|()| None)
        }
        linked => linked.map(|()| None),
    }
}

/// What a file that was written outlives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outlives {
    Process,
    Power,
}

fn write(path: &Path, text: &str, outlives: Outlives) -> io::Result<()> {
    let path = match path.canonicalize() {
        Ok(path) if !path.is_file() => return fs::write(path, text),
        Ok(path) => path,
        Err(_) => path.to_owned(),
    };
    let beside = Beside::open(&path)?;
    beside.fill(text)?;
    if let Ok(before) = fs::metadata(&path) {
        beside.file.set_permissions(before.permissions())?;
    }
    if outlives == Outlives::Power {
        beside.file.sync_all()?;
    }
    beside.place(&path)?;
    // So that the new name outlives it too, where the file system can do that.
    if outlives == Outlives::Power
        && let Some(folder) = path.parent()
        && let Ok(folder) = File::open(folder)
    {
        _ = folder.sync_all();
    }
    Ok(())
}

/// A file beside another one, for what will take that one's place. It has the same name each time, so
/// that what a killed xp left is replaced, and a lock, so that only one xp writes it at a time.
struct Beside {
    path: PathBuf,
    file: File,
    is_placed: Cell<bool>,
}

impl Beside {
    fn open(path: &Path) -> io::Result<Self> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let beside = path.with_file_name(format!(".{name}.new"));
        loop {
            let mut options = File::options();
            options.create(true).truncate(false).write(true);
            // A link there is not xp's, and would lead it elsewhere.
            options.custom_flags(OFlags::NOFOLLOW.bits() as i32);
            let file = match options.open(&beside) {
                Ok(file) => file,
                Err(error) if fs::remove_file(&beside).is_err() => return Err(error),
                Err(_) => continue,
            };
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => file.lock()?,
                // Not every file system has locks.
                Err(TryLockError::Error(_)) => {}
            }
            // Whoever had the lock before may have moved the file away.
            let opened = file.metadata()?;
            let is_there = fs::symlink_metadata(&beside)
                .is_ok_and(|there| (there.dev(), there.ino()) == (opened.dev(), opened.ino()));
            if is_there && opened.nlink() == 1 {
                file.set_len(0)?;
                return Ok(Self {
                    path: beside,
                    file,
                    is_placed: Cell::new(false),
                });
            }
            if is_there {
                // Somebody was stopped who had just linked it to its place: it is that file as well.
                fs::remove_file(&beside)?;
            }
        }
    }

    fn fill(&self, text: &str) -> io::Result<()> {
        (&self.file).write_all(text.as_bytes())
    }

    fn place(&self, path: &Path) -> io::Result<()> {
        fs::rename(&self.path, path)?;
        self.is_placed.set(true);
        Ok(())
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        if !self.is_placed.get() {
            _ = fs::remove_file(&self.path);
        }
    }
}

/// Copies a file to a name beside it that is free.
fn keep(path: &Path) -> io::Result<PathBuf> {
    let text = fs::read(path)?;
    for number in 1.. {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(match number {
            1 => ".old".to_owned(),
            number => format!(".old-{number}"),
        });
        let kept = path.with_file_name(name);
        match File::create_new(&kept) {
            Ok(mut copy) => return copy.write_all(&text).map(|()| kept),
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
    fn what_is_new_is_written_over_nothing_and_nothing_is_left_behind() {
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
    fn links_and_modes_stay() {
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
    fn what_others_left_is_in_nobodys_way() {
        let folder = tempfile::tempdir().unwrap();
        let (file, beside) = (folder.path().join("x"), folder.path().join(".x.new"));
        let other = folder.path().join("other");
        fs::write(&other, "precious").unwrap();
        symlink("other", &beside).unwrap();
        replace(&file, "1").unwrap();
        fs::hard_link(&file, &beside).unwrap();
        assert!(write_new(&file, "2", false).is_err());
        assert_eq!(fs::read_to_string(&file).unwrap(), "1");
        assert_eq!(fs::read_to_string(&other).unwrap(), "precious");
        assert!(!beside.exists());
    }

    #[test]
    fn many_writers_leave_one_whole_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x");
        // What a killed writer left.
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
