//! The lock's file: the only place of the module that looks at the file system.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::parse::line_with_a_comment;
use super::{InvalidLock, Lock, parse};
use crate::error::{Diagnostic, Exit};
use crate::files;
use crate::manifest::file::read;

/// A lock and the file that it is in.
#[derive(Debug)]
pub struct LockFile {
    path: PathBuf,
    /// As it was read.
    text: Option<String>,
    /// What it says; empty where there is no file.
    pub lock: Lock,
}

/// A lock that could not be written.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The file holds a comment, which would be lost.
    #[error("{}: line {line} has a comment, which would be lost", path.display())]
    Comment {
        /// The file.
        path: PathBuf,
        /// The line, from one.
        line: usize,
    },
    /// Something is there that is no file.
    #[error("{} {what}, so the lock is not written", path.display())]
    NoFile {
        /// Where.
        path: PathBuf,
        /// What is there.
        what: &'static str,
    },
    /// The file was changed by somebody else.
    #[error("{} was changed by another program, so the lock is not written", .0.display())]
    ChangedMeanwhile(PathBuf),
    /// A file cannot be written.
    #[error("the lock {} cannot be written", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Diagnostic for FileError {
    fn exit(&self) -> Exit {
        match self {
            Self::Comment { .. } | Self::NoFile { .. } => Exit::Usage,
            Self::ChangedMeanwhile(_) | Self::Write { .. } => Exit::Outside,
        }
    }

    fn hints(&self) -> Vec<String> {
        let hint = match self {
            Self::Comment { .. } => {
                "xp writes this file anew: keep notes elsewhere, or in the comment at its top, which stays"
            }
            Self::NoFile { .. } => "let `--lock-file` name another file",
            Self::ChangedMeanwhile(_) => "run `xp lock` again",
            Self::Write { .. } => {
                "make its folder, and make sure that you may write there; `--lock-file` names another file"
            }
        };
        vec![hint.to_owned()]
    }
}

impl LockFile {
    /// Reads a lock that must be there.
    ///
    /// # Errors
    ///
    /// There is none, or it cannot be read.
    pub fn load(path: &Path) -> Result<Self, InvalidLock> {
        let shown = path.display().to_string();
        let missing = "`xp lock` writes one; `--lock-file` names another";
        let text = read(path, "lock", missing)
            .map_err(|problem| InvalidLock::unreadable(&shown, problem))?;
        Ok(Self {
            path: path.to_owned(),
            lock: parse(&text, &shown)?,
            text: Some(text),
        })
    }

    /// Reads a lock, or begins an empty one where there is none.
    ///
    /// # Errors
    ///
    /// It is there and cannot be read.
    pub fn load_or_begin(path: &Path) -> Result<Self, InvalidLock> {
        match fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self {
                path: path.to_owned(),
                text: None,
                lock: Lock::default(),
            }),
            // A link that leads nowhere is not overwritten, so it is an error to be told.
            _ => Self::load(path),
        }
    }

    /// Returns the path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Tells whether there was a file.
    pub fn exists(&self) -> bool {
        self.text.is_some()
    }

    /// Writes another lock in place of this one; at each moment the file is the old one or the new one.
    /// Tells whether it had to be written.
    ///
    /// # Errors
    ///
    /// The file holds comments that would be lost, was changed meanwhile, or cannot be written.
    pub fn replace(&self, lock: &Lock) -> Result<bool, FileError> {
        let text = lock.render();
        let old = self.text.as_deref();
        // Git may have given it other line ends.
        if old.is_some_and(|old| old.replace("\r\n", "\n") == text) {
            return Ok(false);
        }
        if let Some(line) = old.and_then(line_with_a_comment) {
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
                        let what = "is a link that leads nowhere";
                        Err(FileError::NoFile { path, what })
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
        super::super::tests::lock(&["zbackend"])
    }

    #[test]
    fn a_lock_is_replaced_as_a_whole_and_keeps_its_mode() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let file = lock_file(&folder, OLD);
        fs::set_permissions(file.path(), fs::Permissions::from_mode(0o600)).unwrap();
        assert!(file.replace(&new_lock()).unwrap());
        let again = LockFile::load(file.path()).unwrap();
        assert_eq!(again.lock.services, new_lock().services);
        let mode = fs::metadata(file.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let entries = fs::read_dir(folder.path()).unwrap();
        assert_eq!(entries.count(), 1, "nothing is left beside it");
        assert!(!again.replace(&again.lock).unwrap(), "nothing to write");
    }

    #[test]
    fn line_ends_of_another_system_are_no_change() {
        let folder = tempfile::tempdir().unwrap();
        let text = new_lock().render().replace('\n', "\r\n");
        let file = lock_file(&folder, &text);
        assert!(!file.replace(&new_lock()).unwrap());
        assert_eq!(fs::read_to_string(file.path()).unwrap(), text);
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
        let error = LockFile::load_or_begin(&link).unwrap_err();
        assert!(error.to_string().contains("lock not found"), "{error}");
    }

    #[test]
    fn nothing_is_lost() {
        let folder = tempfile::tempdir().unwrap();
        let commented = "# mine\nversion: 1\nservices: {} # why\n";
        let file = lock_file(&folder, commented);
        let error = file.replace(&new_lock()).unwrap_err();
        assert!(error.to_string().contains("line 3"), "{error}");
        assert_eq!(fs::read_to_string(file.path()).unwrap(), commented);

        let file = lock_file(&folder, OLD);
        fs::write(file.path(), "changed").unwrap();
        let error = file.replace(&new_lock()).unwrap_err();
        assert!(matches!(error, FileError::ChangedMeanwhile(_)), "{error}");
        assert_eq!(fs::read_to_string(file.path()).unwrap(), "changed");
    }

    #[test]
    fn the_comment_at_the_top_stays() {
        let folder = tempfile::tempdir().unwrap();
        let file = lock_file(&folder, "# Ours\n\n# SPDX\nversion: 1\nservices: {}\n");
        let lock = file.lock.replaced_by(new_lock().services);
        file.replace(&lock).unwrap();
        let text = fs::read_to_string(file.path()).unwrap();
        assert!(
            text.starts_with("# Ours\n\n# SPDX\nversion: 1\nservices:\n  zbackend:\n"),
            "{text}"
        );
    }

    #[test]
    fn what_a_killed_run_left_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let file = lock_file(&folder, OLD);
        // Not even through a link that somebody put there.
        let victim = folder.path().join("victim");
        fs::write(&victim, "precious").unwrap();
        let beside = folder.path().join(".x-platform.lock.new");
        std::os::unix::fs::symlink(&victim, &beside).unwrap();
        file.replace(&new_lock()).unwrap();
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
        assert!(!beside.is_symlink());
    }
}
