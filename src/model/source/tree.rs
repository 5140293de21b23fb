//! Uncommitted changes of a working copy.

use std::fmt;

use sha1::{Digest as _, Sha1};

use super::{CommitId, GitFolders};
use crate::base::plural::count_of;

/// The state of a working copy that is built in place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkingTree {
    /// The uncommitted changes; `None` if the working copy is clean.
    pub changes: Option<TreeChanges>,
    /// The time of the commit, in seconds since 1970; `None` if the commit is unknown.
    pub commit_time: Option<i64>,
    /// The git directories; `None` if it is not a git working copy.
    pub git: Option<GitFolders>,
}

/// The differences between a working copy and its commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeChanges {
    /// The identity of the differences.
    pub digest: TreeDigest,
    /// The number of paths that differ.
    pub count: usize,
    /// The number of those that are excluded by a sparse checkout.
    pub excluded: usize,
    /// The first few of the other paths.
    pub paths: Vec<String>,
}

impl fmt::Display for TreeChanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, path) in self.paths.iter().enumerate() {
            let comma = if index > 0 { ", " } else { "" };
            // File names may contain escape sequences, and this is printed to a terminal.
            write!(f, "{comma}{}", path.escape_debug())?;
        }
        match (self.count - self.excluded).saturating_sub(self.paths.len()) {
            0 => {}
            more => write!(f, " and {more} more")?,
        }
        match (self.excluded, self.paths.is_empty()) {
            (0, _) => Ok(()),
            (excluded, true) => write!(
                f,
                "{} excluded by the sparse checkout",
                count_of(excluded, "file")
            ),
            (excluded, false) => write!(
                f,
                "; {} excluded by the sparse checkout",
                count_of(excluded, "file")
            ),
        }
    }
}

/// The identity of a working copy's differences from its commit: eight hexadecimal digits.
///
/// It depends only on paths, executable bits and contents, so it is the same on every machine and regardless of what
/// is staged, and repeating an edit gives the same digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TreeDigest([u8; 4]);

impl fmt::Display for TreeDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Computes a [`TreeDigest`]. Paths that differ must be added in byte order.
///
/// Every path is preceded by its length, and all other fields have a fixed length, so different trees never give
/// the same byte stream.
#[derive(Default)]
pub struct TreeHasher(Sha1);

impl TreeHasher {
    /// Adds a file, by the SHA-1 of its content.
    pub fn file(&mut self, path: &[u8], executable: bool, content: [u8; 20]) {
        self.entry(path, if executable { b'x' } else { b'f' }, &content);
    }

    /// Adds a symbolic link.
    pub fn symlink(&mut self, path: &[u8], target: &[u8]) {
        self.entry(path, b'l', &Sha1::digest(target));
    }

    /// Adds a path of the commit that was deleted.
    pub fn removed(&mut self, path: &[u8]) {
        self.entry(path, b'-', &[0; 20]);
    }

    /// Adds a nested repository, such as a submodule: its commit and its changes.
    pub fn repository(&mut self, path: &[u8], commit: Option<CommitId>, changes: Self) {
        let mut inner = Sha1::new();
        // A repository without a commit gets zeros, which no commit has.
        inner.update(commit.map_or([0; 20], |commit| *commit.as_bytes()));
        inner.update(changes.0.finalize());
        self.entry(path, b'r', &inner.finalize());
    }

    fn entry(&mut self, path: &[u8], kind: u8, digest: &[u8]) {
        self.0.update((path.len() as u64).to_be_bytes());
        self.0.update(path);
        self.0.update([kind]);
        self.0.update(digest);
    }

    /// Returns the digest.
    pub fn finish(self) -> TreeDigest {
        let digest = self.0.finalize();
        TreeDigest([digest[0], digest[1], digest[2], digest[3]])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(add: impl FnOnce(&mut TreeHasher)) -> String {
        let mut hasher = TreeHasher::default();
        add(&mut hasher);
        hasher.finish().to_string()
    }

    #[test]
    fn every_field_changes_the_digest() {
        let commit = CommitId::from_bytes([7; 20]);
        let digests = [
            digest(|_| ()),
            digest(|tree| tree.file(b"a", false, [1; 20])),
            digest(|tree| tree.file(b"a", true, [1; 20])),
            digest(|tree| tree.file(b"a", false, [2; 20])),
            digest(|tree| tree.file(b"b", false, [1; 20])),
            digest(|tree| tree.removed(b"a")),
            digest(|tree| tree.symlink(b"a", b"x")),
            digest(|tree| tree.symlink(b"a", b"y")),
            digest(|tree| tree.repository(b"a", None, TreeHasher::default())),
            digest(|tree| tree.repository(b"a", Some(commit), TreeHasher::default())),
            digest(|tree| {
                let mut inner = TreeHasher::default();
                inner.removed(b"x");
                tree.repository(b"a", Some(commit), inner);
            }),
        ];
        let distinct: std::collections::BTreeSet<&String> = digests.iter().collect();
        assert_eq!(distinct.len(), digests.len(), "{digests:?}");
        assert!(digests.iter().all(|digest| digest.len() == 8));
    }

    #[test]
    fn the_digest_is_stable() {
        // Tags of existing images depend on it.
        let digest = digest(|tree| {
            tree.file(b"main.go", false, Sha1::digest("package main").into());
            tree.removed(b"old.go");
        });
        assert_eq!(digest, "3deab103");
    }

    #[test]
    fn changes_are_listed() {
        let changes = |count, excluded, paths: &[&str]| TreeChanges {
            digest: TreeHasher::default().finish(),
            count,
            excluded,
            paths: paths.iter().map(|path| (*path).to_owned()).collect(),
        };
        assert_eq!(changes(1, 0, &["a"]).to_string(), "a");
        assert_eq!(changes(4, 0, &["a", "b"]).to_string(), "a, b and 2 more");
        let sparse = changes(5, 5, &[]).to_string();
        assert_eq!(sparse, "5 files excluded by the sparse checkout");
        let both = changes(3, 1, &["a"]).to_string();
        assert_eq!(both, "a and 1 more; 1 file excluded by the sparse checkout");
    }
}
