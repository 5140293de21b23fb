//! The cache folder: creating and claiming it, and cached facts.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::SystemTime;

use crate::base::files;

/// Marks a folder as owned by xp, and as a cache for backup programs
/// (<https://bford.info/cachedir/>).
const TAG: &str = "CACHEDIR.TAG";

/// The temporary file of the tag.
const TAG_TEMP: &str = ".CACHEDIR.TAG.new";

/// Makes git ignore the folder.
const IGNORE: &str = ".gitignore";

/// The content of the tag. It must not change: existing folders are recognized by it.
const TAG_TEXT: &str = "Signature: 8a477f597d28d172789f06886806bc55\n\
    # This folder was made by xp, which removes and replaces what is in it.\n";

/// Creates a folder and marks it as owned by xp. Returns false and changes nothing if it contains other files.
///
/// # Errors
///
/// If the folder cannot be read or written.
pub fn claim(folder: &Path) -> io::Result<bool> {
    fs::create_dir_all(folder)?;
    if ownership(folder)? == Ownership::Foreign {
        return Ok(false);
    }
    complete(&folder.join(TAG), TAG_TEXT)?;
    complete(&folder.join(IGNORE), "*\n")?;
    Ok(true)
}

/// The owner of a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ownership {
    /// Owned by xp.
    Own,
    /// Empty, so it can be claimed.
    Empty,
    /// Contains other files.
    Foreign,
}

/// Returns the owner of a folder, without changing it.
///
/// # Errors
///
/// If the folder cannot be read.
pub fn ownership(folder: &Path) -> io::Result<Ownership> {
    let read_tag = || fs::read(folder.join(TAG)).ok();
    let is_complete =
        |tag: &Option<Vec<u8>>| tag.as_deref().is_some_and(|tag| tag == TAG_TEXT.as_bytes());
    let tag = read_tag();
    if is_complete(&tag) {
        return Ok(Ownership::Own);
    }
    // The tag is the first file that xp writes. It may be partial if xp was killed or the disk was full.
    let is_partial = tag.is_some_and(|found| TAG_TEXT.as_bytes().starts_with(&found));
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        if !(name == TAG_TEMP || name == TAG && is_partial) {
            // A concurrent xp may have claimed it.
            return Ok(if is_complete(&read_tag()) {
                Ownership::Own
            } else {
                Ownership::Foreign
            });
        }
    }
    Ok(Ownership::Empty)
}

/// Writes a file that is missing or partial; any other content is left alone.
fn complete(path: &Path, text: &str) -> io::Result<()> {
    match fs::read(path) {
        Ok(found) if found == text.as_bytes() || !text.as_bytes().starts_with(&found) => Ok(()),
        _ => files::replace(path, text),
    }
}

/// A cache of immutable facts, each in its own file.
///
/// It only saves requests: without a writable folder they are sent again. No lock is needed, because files
/// are replaced atomically, and concurrent writers write the same content.
#[derive(Debug)]
pub struct FactCache {
    root: PathBuf,
    is_own: OnceLock<bool>,
}

impl FactCache {
    /// Returns the facts in a folder, which is created when the first one is written.
    pub fn new(root: &Path) -> Self {
        let is_own = OnceLock::new();
        Self {
            root: root.to_owned(),
            is_own,
        }
    }

    /// Returns the content of a file, if it exists.
    pub fn read(&self, path: &Path) -> Option<String> {
        fs::read_to_string(path).ok()
    }

    /// Writes a fact to a file below the folder. Errors are ignored.
    pub fn write(&self, path: &Path, text: &str) {
        if *self
            .is_own
            .get_or_init(|| claim(&self.root).unwrap_or(false))
        {
            let folder = path.parent().unwrap_or(&self.root);
            _ = fs::create_dir_all(folder).and_then(|()| files::replace(path, text));
        }
    }

    /// Removes the oldest files of a folder, so that it does not grow forever.
    pub fn remove_oldest(&self, folder: &Path, kept: usize) {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let mut files: Vec<(SystemTime, PathBuf)> = entries
            .filter_map(|entry| {
                let found = entry.metadata().ok().filter(fs::Metadata::is_file)?;
                Some((found.modified().ok()?, entry.path()))
            })
            .collect();
        files.sort();
        let excess = files.len().saturating_sub(kept);
        for (_, file) in files.into_iter().take(excess) {
            _ = fs::remove_file(file);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_written_to_the_claimed_folder() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("own");
        let facts = FactCache::new(&root);
        let path = root.join("labels/x.json");
        assert_eq!(facts.read(&path), None);
        facts.write(&path, "one");
        facts.write(&path, "two");
        assert_eq!(facts.read(&path).as_deref(), Some("two"));
        assert_eq!(fs::read_dir(root.join("labels")).unwrap().count(), 1);
        assert!(root.join(TAG).is_file());
    }

    #[test]
    fn a_folder_of_an_earlier_version_is_recognized() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("lock"), "").unwrap();
        let tag = "Signature: 8a477f597d28d172789f06886806bc55\n\
                   # This folder was made by xp, which removes and replaces what is in it.\n";
        fs::write(folder.path().join(TAG), tag).unwrap();
        assert!(claim(folder.path()).unwrap());
    }

    #[test]
    fn a_folder_with_a_partial_tag_is_claimed() {
        for partial in ["", "Signature: 8a47"] {
            for name in [TAG, TAG_TEMP] {
                let folder = tempfile::tempdir().unwrap();
                fs::write(folder.path().join(name), partial).unwrap();
                assert_eq!(ownership(folder.path()).unwrap(), Ownership::Empty);
                assert!(claim(folder.path()).unwrap());
                assert_eq!(ownership(folder.path()).unwrap(), Ownership::Own);
                assert!(!folder.path().join(TAG_TEMP).exists());
            }
        }
        // Another program's cache.
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(TAG), "Signature: 8a47-not").unwrap();
        assert_eq!(ownership(folder.path()).unwrap(), Ownership::Foreign);
        fs::write(folder.path().join(TAG), "").unwrap();
        fs::write(folder.path().join("thesis.txt"), "precious").unwrap();
        assert!(!claim(folder.path()).unwrap());
    }

    #[test]
    fn a_custom_ignore_file_is_kept_and_a_partial_one_completed() {
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
    fn concurrent_claims_succeed() {
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
    fn foreign_folders_are_not_written_to() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("thesis.txt"), "precious").unwrap();
        assert!(!claim(folder.path()).unwrap());
        let path = folder.path().join("labels/x.json");
        FactCache::new(folder.path()).write(&path, "one");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
