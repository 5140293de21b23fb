//! What a working copy holds that its commit does not.

use std::fmt;

use sha1::{Digest as _, Sha1};

use super::{CommitId, GitFolders};
use crate::words::many;

/// A working copy as it stands, for a build in place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkingTree {
    /// What differs from the commit; nothing where git calls the working copy clean.
    pub changes: Option<TreeChanges>,
    /// When the commit was made, in seconds since 1970.
    pub commit_time: i64,
    /// Where git's own files are.
    pub git: GitFolders,
}

/// How a working copy differs from its commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeChanges {
    /// The identity of the differences.
    pub digest: TreeDigest,
    /// How many paths differ.
    pub count: usize,
    /// How many of these a sparse checkout leaves out.
    pub left_out: usize,
    /// The first few of the others.
    pub paths: Vec<String>,
}

impl fmt::Display for TreeChanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, path) in self.paths.iter().enumerate() {
            let comma = if index > 0 { ", " } else { "" };
            // A file's name may hold anything, and reaches a terminal.
            write!(f, "{comma}{}", path.escape_debug())?;
        }
        match (self.count - self.left_out).saturating_sub(self.paths.len()) {
            0 => {}
            more => write!(f, " and {more} more")?,
        }
        match (self.left_out, self.paths.is_empty()) {
            (0, _) => Ok(()),
            (left_out, true) => write!(
                f,
                "{} left out of a sparse checkout",
                many(left_out, "file")
            ),
            (left_out, false) => write!(
                f,
                "; {} left out of a sparse checkout",
                many(left_out, "file")
            ),
        }
    }
}

/// The identity of a working copy's differences from its commit: eight hexadecimal digits.
///
/// It depends on paths, executable bits and contents alone. So it is the same on every machine,
/// whatever was staged, and comes back when an edit is made again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TreeDigest([u8; 4]);

impl fmt::Display for TreeDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Computes a [`TreeDigest`]; the paths that differ are given in the order of their bytes.
///
/// Every path is preceded by its length, and every other field has a fixed one, so that no two
/// trees give the same stream of bytes.
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

    /// Adds a path of the commit at which there is no file.
    pub fn removed(&mut self, path: &[u8]) {
        self.entry(path, b'-', &[0; 20]);
    }

    /// Adds a repository inside the working copy, such as a submodule: its commit, and what differs
    /// from that.
    pub fn repository(&mut self, path: &[u8], commit: Option<CommitId>, changes: Self) {
        let mut inner = Sha1::new();
        // A repository without a commit differs from one with any, as no commit has this name.
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
    fn every_part_counts() {
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
    fn the_digest_is_the_same_for_ever() {
        // Tags of images that exist depend on it.
        let digest = digest(|tree| {
            tree.file(b"main.go", false, Sha1::digest("package main").into());
            tree.removed(b"old.go");
        });
        assert_eq!(digest, "3deab103");
    }

    #[test]
    fn changes_are_named() {
        let changes = |count, left_out, paths: &[&str]| TreeChanges {
            digest: TreeHasher::default().finish(),
            count,
            left_out,
            paths: paths.iter().map(|path| (*path).to_owned()).collect(),
        };
        assert_eq!(changes(1, 0, &["a"]).to_string(), "a");
        assert_eq!(changes(4, 0, &["a", "b"]).to_string(), "a, b and 2 more");
        let sparse = changes(5, 5, &[]).to_string();
        assert_eq!(sparse, "5 files left out of a sparse checkout");
        let both = changes(3, 1, &["a"]).to_string();
        assert_eq!(both, "a and 1 more; 1 file left out of a sparse checkout");
    }
}
