//! Loading of files that include each other.

use super::{ReadFile, file_error};
use crate::model::manifest::ManifestError;

/// Maximum number of files loaded from one source.
const MAX_FILES: usize = 200;

/// Loads a file and its includes, up to [`MAX_FILES`].
pub(super) struct FileLoader<'r> {
    read: &'r ReadFile<'r>,
    opened: usize,
}

impl<'r> FileLoader<'r> {
    pub fn new(read: &'r ReadFile<'r>) -> Self {
        Self { read, opened: 0 }
    }

    /// Returns whether a file exists.
    pub fn exists(&self, file: &str) -> Result<bool, ManifestError> {
        (self.read)(file).map(|text| text.is_some())
    }

    /// Reads a file that must exist.
    pub fn open(&mut self, file: &str) -> Result<String, ManifestError> {
        self.opened += 1;
        if self.opened > MAX_FILES {
            let message = format!("more than {MAX_FILES} files include each other");
            return Err(file_error(file, message));
        }
        existing(file, self.read)
    }
}

/// Reads a file that must exist.
pub(super) fn existing(file: &str, read: &ReadFile<'_>) -> Result<String, ManifestError> {
    read(file)?.ok_or_else(|| file_error(file, "no such file"))
}

#[cfg(test)]
mod tests {
    use super::super::tests::files;
    use super::*;

    #[test]
    fn the_number_of_files_is_limited() {
        let read = files(&[("a", "text")]);
        let mut opened = FileLoader::new(&read);
        assert!(
            opened
                .open("gone")
                .unwrap_err()
                .to_string()
                .contains("no such file")
        );
        for _ in 1..MAX_FILES {
            assert_eq!(opened.open("a").unwrap(), "text");
        }
        assert!(
            opened
                .open("a")
                .unwrap_err()
                .to_string()
                .contains("more than 200")
        );
    }
}
