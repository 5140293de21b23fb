//! Reads and writes the lock file.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::base::error::{Diagnostic, Exit};
use crate::base::files;
use crate::model::lock::parse::line_with_comment;
use crate::model::lock::{InvalidLock, Lock, parse};
use crate::model::manifest::file::read;

/// A lock and its file.
#[derive(Debug)]
pub struct LockFile {
    path: PathBuf,
    /// The text as it was read.
    text: Option<String>,
    /// The lock; empty if there is no file.
    pub lock: Lock,
}

/// Why a lock cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The file has a comment, which would be lost.
    #[error("{}: line {line} has a comment, which would be lost", path.display())]
    Comment {
        path: PathBuf,
        /// The line, from one.
        line: usize,
    },
    /// The path is not a file.
    #[error("{} is {what}; the lock was not written", path.display())]
    NotAFile {
        path: PathBuf,
        /// What it is instead.
        what: &'static str,
    },
    /// Another program changed the file.
    #[error("{} was changed by another program; the lock was not written", .0.display())]
    ChangedMeanwhile(PathBuf),
    /// A file cannot be written.
    #[error("the lock {} cannot be written", path.display())]
    Write {
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

impl Diagnostic for FileError {
    fn exit(&self) -> Exit {
        match self {
            Self::Comment { .. } | Self::NotAFile { .. } => Exit::Usage,
            Self::ChangedMeanwhile(_) | Self::Write { .. } => Exit::Outside,
        }
    }

    fn hints(&self) -> Vec<String> {
        let hint = match self {
            Self::Comment { .. } => {
                "xp rewrites this file: keep notes elsewhere, or in the comment at the top, which is preserved"
            }
            Self::NotAFile { .. } => "specify another file",
            Self::ChangedMeanwhile(_) => "run `xp lock` reread",
            Self::Write { .. } => {
                "create its folder and make sure it is writable, or specify another file"
            }
        };
        vec![hint.to_owned()]
    }
}

impl LockFile {
    /// Reads a lock that must exist.
    ///
    /// # Errors
    ///
    /// The file does not exist or is invalid.
    pub fn load(path: &Path) -> Result<Self, InvalidLock> {
        let shown = path.display().to_string();
        let missing = "create it with `xp lock`, or specify another file";
        let text = read(path, "lock", missing)
            .map_err(|problem| InvalidLock::unreadable(&shown, problem))?;
        Ok(Self {
            path: path.to_owned(),
            lock: parse(&text, &shown)?,
            text: Some(text),
        })
    }

    /// Reads a lock, or starts an empty one if there is no file.
    ///
    /// # Errors
    ///
    /// The file is invalid.
    pub fn load_or_empty(path: &Path) -> Result<Self, InvalidLock> {
        match fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self {
                path: path.to_owned(),
                text: None,
                lock: Lock::default(),
            }),
            // A dangling symlink is not overwritten, so this reports it as an error.
            _ => Self::load(path),
        }
    }

    /// Returns whether the file existed.
    pub fn exists(&self) -> bool {
        self.text.is_some()
    }

    /// Atomically replaces the file with another lock. Returns whether it had to be written.
    ///
    /// # Errors
    ///
    /// The file has comments that would be lost, was changed in the meantime, or cannot be written.
    pub fn replace(&self, lock: &Lock) -> Result<bool, FileError> {
        let text = lock.render();
        let old = self.text.as_deref();
        // Git may have converted the line ends.
        if old.is_some_and(|old| old.replace("\r\n", "\n") == text) {
            return Ok(false);
        }
        if let Some(line) = old.and_then(line_with_comment) {
            let path = self.path.clone();
            return Err(FileError::Comment { path, line });
        }
        self.check_unchanged()?;
        let written = files::replace_durably(&self.path, &text);
        written.map(|()| true).map_err(|source| FileError::Write {
            path: self.path.clone(),
            source,
        })
    }

    fn check_unchanged(&self) -> Result<(), FileError> {
        let path = self.path.clone();
        match (&self.text, fs::read_to_string(&self.path)) {
            (Some(text), Ok(now)) if *text == now => Ok(()),
            (None, Err(error)) if error.kind() == io::ErrorKind::NotFound => {
                match fs::symlink_metadata(&self.path) {
                    Ok(_) => {
                        let what = "a dangling symlink";
                        Err(FileError::NotAFile { path, what })
                    }
                    Err(_) => Ok(()),
                }
            }
            _ => Err(FileError::ChangedMeanwhile(path)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "version: 1\nservices: {}\n";

    fn lock_file(folder: &tempfile::TempDir, text: &str) -> LockFile {
        let path = folder.path().join("x-platform.lock");
        fs::write(&path, text).unwrap();
        LockFile::load(&path).unwrap()
    }

    fn new_lock() -> Lock {
        crate::model::lock::tests::lock(&["zbackend"])
    }

    #[test]
    fn a_lock_is_replaced_atomically_and_keeps_its_mode() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let file = lock_file(&folder, OLD);
        fs::set_permissions(&file.path, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(file.replace(&new_lock()).unwrap());
        let reread = LockFile::load(&file.path).unwrap();
        assert_eq!(reread.lock.services, new_lock().services);
        let mode = fs::metadata(&file.path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let entries = fs::read_dir(folder.path()).unwrap();
        assert_eq!(entries.count(), 1, "no temporary file is left");
        assert!(!reread.replace(&reread.lock).unwrap(), "nothing to write");
    }

    #[test]
    fn crlf_line_ends_are_not_a_change() {
        let folder = tempfile::tempdir().unwrap();
        let text = new_lock().render().replace('\n', "\r\n");
        let file = lock_file(&folder, &text);
        assert!(!file.replace(&new_lock()).unwrap());
        assert_eq!(fs::read_to_string(&file.path).unwrap(), text);
    }

    #[test]
    fn a_link_stays_a_link() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("release")).unwrap();
        let real = folder.path().join("release/lock");
        fs::write(&real, OLD).unwrap();
        let link = folder.path().join("x-platform.lock");
        std::os::unix::fs::symlink("release/lock", &link).unwrap();
        LockFile::load(&link).unwrap().replace(&new_lock()).unwrap();
        assert!(link.is_symlink());
        assert_eq!(fs::read_to_string(&real).unwrap(), new_lock().render());

        fs::remove_file(&real).unwrap();
        let error = LockFile::load_or_empty(&link).unwrap_err();
        assert!(error.to_string().contains("lock not found"), "{error}");
    }

    #[test]
    fn comments_and_concurrent_changes_are_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let commented = "# mine\nversion: 1\nservices: {} # why\n";
        let file = lock_file(&folder, commented);
        let error = file.replace(&new_lock()).unwrap_err();
        assert!(error.to_string().contains("line 3"), "{error}");
        assert_eq!(fs::read_to_string(&file.path).unwrap(), commented);

        let file = lock_file(&folder, OLD);
        fs::write(&file.path, "changed").unwrap();
        let error = file.replace(&new_lock()).unwrap_err();
        assert!(matches!(error, FileError::ChangedMeanwhile(_)), "{error}");
        assert_eq!(fs::read_to_string(&file.path).unwrap(), "changed");
    }

    #[test]
    fn the_comment_at_the_top_is_preserved() {
        let folder = tempfile::tempdir().unwrap();
        let file = lock_file(&folder, "# Ours\n\n# SPDX\nversion: 1\nservices: {}\n");
        let lock = file.lock.with_services(new_lock().services);
        file.replace(&lock).unwrap();
        let text = fs::read_to_string(&file.path).unwrap();
        assert!(
            text.starts_with("# Ours\n\n# SPDX\nversion: 1\nservices:\n  zbackend:\n"),
            "{text}"
        );
    }

    #[test]
    fn a_leftover_temporary_file_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let file = lock_file(&folder, OLD);
        // And symlinks at its path are not followed.
        let victim = folder.path().join("victim");
        fs::write(&victim, "precious").unwrap();
        let temporary = folder.path().join(".x-platform.lock.new");
        std::os::unix::fs::symlink(&victim, &temporary).unwrap();
        file.replace(&new_lock()).unwrap();
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
        assert!(!temporary.is_symlink());
    }
}
