//! Content IDs of builder images.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read};
use std::str::FromStr;

use sha1::{Digest as _, Sha1};

use crate::model::image::Tag;

/// The content ID of a builder image: a SHA-1 of its folder and its build arguments.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContentId(String);

impl ContentId {
    /// Returns the tag of the builder image.
    pub fn tag(&self) -> Option<Tag> {
        Tag::from_str(&self.0).ok()
    }

    /// Returns the first eight digits, only for display.
    pub fn short(&self) -> &str {
        &self.0[..8]
    }
}

impl fmt::Display for ContentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Computes a [`ContentId`]. Files must be added in the order of their paths.
///
/// Every field is preceded by its length, so different folders never give the same byte stream. Owners, times and
/// other permission bits are ignored, because they differ between checkouts.
pub struct ContentHasher(Sha1);

impl ContentHasher {
    /// Starts with the build arguments.
    pub fn new(args: &BTreeMap<String, String>) -> Self {
        let mut hasher = Self(Sha1::new());
        hasher.0.update((args.len() as u64).to_be_bytes());
        for (name, value) in args {
            hasher.field(name.as_bytes());
            hasher.field(value.as_bytes());
        }
        hasher
    }

    /// Adds a file: its path with slashes, whether it is executable, and its content.
    ///
    /// # Errors
    ///
    /// Reading `content` fails.
    pub fn file(&mut self, path: &str, executable: bool, content: &mut dyn Read) -> io::Result<()> {
        // Hashed separately, because a digest has a fixed length, and the file's length is only known at the end.
        let mut digest = Sha1::new();
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match content.read(&mut buffer)? {
                0 => break,
                read => digest.update(&buffer[..read]),
            }
        }
        self.entry(
            path,
            if executable { b'x' } else { b'f' },
            &digest.finalize(),
        );
        Ok(())
    }

    /// Adds a symbolic link.
    pub fn symlink(&mut self, path: &str, target: &str) {
        self.entry(path, b'l', &Sha1::digest(target));
    }

    fn entry(&mut self, path: &str, kind: u8, digest: &[u8]) {
        self.field(path.as_bytes());
        self.0.update([kind]);
        self.0.update(digest);
    }

    fn field(&mut self, bytes: &[u8]) {
        self.0.update((bytes.len() as u64).to_be_bytes());
        self.0.update(bytes);
    }

    /// Returns the content ID.
    pub fn finish(self) -> ContentId {
        ContentId(hex::encode(self.0.finalize()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(args: &[(&str, &str)], files: &[(&str, bool, &str)]) -> ContentId {
        let args = args
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect();
        let mut hasher = ContentHasher::new(&args);
        for (path, executable, content) in files {
            hasher
                .file(path, *executable, &mut content.as_bytes())
                .unwrap();
        }
        hasher.finish()
    }

    #[test]
    fn every_field_changes_the_id() {
        let base = id(&[("BASE", "debian")], &[("Dockerfile", false, "FROM x")]);
        assert_eq!(
            base,
            id(&[("BASE", "debian")], &[("Dockerfile", false, "FROM x")])
        );
        assert_eq!(base.tag().unwrap().as_str(), base.to_string());
        for other in [
            id(&[], &[("Dockerfile", false, "FROM x")]),
            id(&[("BASE", "alpine")], &[("Dockerfile", false, "FROM x")]),
            id(&[("BASE", "debian")], &[("Dockerfile", true, "FROM x")]),
            id(&[("BASE", "debian")], &[("Dockerfile", false, "FROM y")]),
            id(&[("BASE", "debian")], &[("Dockerfilf", false, "FROM x")]),
            id(
                &[("BASE", "debian")],
                &[("Dockerfile", false, "FROM x"), ("a", false, "")],
            ),
        ] {
            assert_ne!(base, other);
        }
    }
}
