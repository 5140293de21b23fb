//! The folder that is xp's own: made and marked as such, and the facts that are kept in it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::files;

/// The file by which xp knows a folder as its own, and backup programs a cache
/// (<https://bford.info/cachedir/>).
const TAG: &str = "CACHEDIR.TAG";

/// The tag while it is written.
const TAG_BESIDE: &str = ".CACHEDIR.TAG.new";

/// What keeps git from a folder.
const IGNORE: &str = ".gitignore";

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
    complete(&folder.join(TAG), TAG_TEXT)?;
    // Keeps git from listing xp's own files in a platform's repository.
    complete(&folder.join(IGNORE), "*\n")?;
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
    let read_tag = || fs::read(folder.join(TAG)).ok();
    let is_whole =
        |tag: &Option<Vec<u8>>| tag.as_deref().is_some_and(|it| it == TAG_TEXT.as_bytes());
    let tag = read_tag();
    if is_whole(&tag) {
        return Ok(Ownership::Own);
    }
    // The tag is the first file that xp writes. One whose xp was killed, or had no space left, may be less.
    let is_begun = tag.is_some_and(|found| TAG_TEXT.as_bytes().starts_with(&found));
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        if !(name == TAG_BESIDE || name == TAG && is_begun) {
            // Another xp may have claimed it just now.
            return Ok(match is_whole(&read_tag()) {
                true => Ownership::Own,
                false => Ownership::Foreign,
            });
        }
    }
    Ok(Ownership::Empty)
}

/// Writes a file that is not there, or only begun; any other text is somebody's own.
fn complete(path: &Path, text: &str) -> io::Result<()> {
    match fs::read(path) {
        Ok(found) if found == text.as_bytes() || !text.as_bytes().starts_with(&found) => Ok(()),
        _ => files::replace(path, text),
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
    fn a_folder_whose_tag_was_only_begun_is_claimed() {
        for begun in ["", "Signature: 8a47"] {
            for name in [TAG, TAG_BESIDE] {
                let folder = tempfile::tempdir().unwrap();
                fs::write(folder.path().join(name), begun).unwrap();
                assert_eq!(ownership(folder.path()).unwrap(), Ownership::Empty);
                assert!(claim(folder.path()).unwrap());
                assert_eq!(ownership(folder.path()).unwrap(), Ownership::Own);
                assert!(!folder.path().join(TAG_BESIDE).exists());
            }
        }
        // Some other program's cache.
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(TAG), "Signature: 8a47-not").unwrap();
        assert_eq!(ownership(folder.path()).unwrap(), Ownership::Foreign);
        fs::write(folder.path().join(TAG), "").unwrap();
        fs::write(folder.path().join("thesis.txt"), "precious").unwrap();
        assert!(!claim(folder.path()).unwrap());
    }

    #[test]
    fn the_users_own_ignore_file_stays_and_one_that_was_begun_is_completed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(IGNORE);
        claim(folder.path()).unwrap();
        for (before, after) in [("", "*\n"), ("*", "*\n"), ("!logs\n", "!logs\n")] {
            fs::write(&file, before).unwrap();
            claim(folder.path()).unwrap();
            assert_eq!(fs::read_to_string(&file).unwrap(), after);
        }
    }

    #[test]
    fn many_claim_a_folder_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let own = folder.path().join("own");
        std::thread::scope(|scope| {
            let claims: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| claim(&own).unwrap()))
                .collect();
            assert!(claims.into_iter().all(|claimed| claimed.join().unwrap()));
        });
        assert_eq!(fs::read_dir(&own).unwrap().count(), 2);
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
