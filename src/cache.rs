//! The folder that is xp's own: made and marked as such, and the facts that are kept in it.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::files;

/// The file by which xp knows a folder as its own, and backup programs a cache
/// (<https://bford.info/cachedir/>).
const TAG: &str = "CACHEDIR.TAG";

const TAG_TEXT: &str = "Signature: 8a477f597d28d172789f06886806bc55\n\
    # This folder was made by xp, which removes and replaces what is in it.\n";

/// Makes a folder, and marks it as xp's own; returns false, and changes nothing, where it holds what
/// xp did not make.
///
/// # Errors
///
/// A folder that cannot be read or written.
pub fn claim(folder: &Path) -> io::Result<bool> {
    fs::create_dir_all(folder)?;
    if ownership(folder)? == Ownership::Foreign {
        return Ok(false);
    }
    write_once(&folder.join(TAG), TAG_TEXT)?;
    // Keeps git from listing xp's own files in a platform's repository.
    write_once(&folder.join(".gitignore"), "*\n")?;
    Ok(true)
}

/// Whose a folder is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ownership {
    /// xp's own.
    Own,
    /// Nobody's: there is nothing in it.
    Empty,
    /// It holds what xp did not make.
    Foreign,
}

/// Tells whose a folder is, and changes nothing.
///
/// # Errors
///
/// A folder that cannot be read.
pub fn ownership(folder: &Path) -> io::Result<Ownership> {
    if fs::read_to_string(folder.join(TAG)).is_ok_and(|text| text == TAG_TEXT) {
        return Ok(Ownership::Own);
    }
    Ok(match fs::read_dir(folder)?.next() {
        Some(_) => Ownership::Foreign,
        None => Ownership::Empty,
    })
}

fn write_once(path: &Path, text: &str) -> io::Result<()> {
    match File::options().create_new(true).write(true).open(path) {
        Ok(mut file) => file.write_all(text.as_bytes()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// Facts that never change once they are known, each in a file of xp's own folder.
///
/// They spare a question, and nothing depends on them: a folder that cannot be written only means that
/// the question is asked again. No lock is needed, as a file is whole or not there, and any two that
/// write one write the same.
#[derive(Debug)]
pub struct Facts {
    root: PathBuf,
    is_own: OnceLock<bool>,
}

impl Facts {
    /// Returns the facts below a folder, which is made when the first one is kept.
    pub fn new(root: &Path) -> Self {
        let is_own = OnceLock::new();
        Self {
            root: root.to_owned(),
            is_own,
        }
    }

    /// Returns what a file holds, where it is there.
    pub fn read(&self, path: &Path) -> Option<String> {
        fs::read_to_string(path).ok()
    }

    /// Keeps a fact in a file below the folder.
    pub fn write(&self, path: &Path, text: &str) {
        if *self
            .is_own
            .get_or_init(|| claim(&self.root).unwrap_or(false))
        {
            let folder = path.parent().unwrap_or(&self.root);
            _ = fs::create_dir_all(folder).and_then(|()| files::replace(path, text));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_kept_in_a_folder_of_their_own() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("own");
        let facts = Facts::new(&root);
        let path = root.join("labels/x.json");
        assert_eq!(facts.read(&path), None);
        facts.write(&path, "one");
        facts.write(&path, "two");
        assert_eq!(facts.read(&path).as_deref(), Some("two"));
        assert_eq!(fs::read_dir(root.join("labels")).unwrap().count(), 1);
        assert!(root.join(TAG).is_file());
    }

    #[test]
    fn nothing_is_written_among_the_files_of_others() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("thesis.txt"), "precious").unwrap();
        assert!(!claim(folder.path()).unwrap());
        let path = folder.path().join("labels/x.json");
        Facts::new(folder.path()).write(&path, "one");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
