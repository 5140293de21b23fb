//! The files that a file of another tool leads to.

use super::{Read, wrong_file};
use crate::manifest::ManifestError;

/// Files that lead to each other, at most.
const MAX_FILES: usize = 200;

/// Reads a file and those that it leads to, as long as they come to an end.
pub(super) struct Files<'r> {
    read: &'r Read<'r>,
    opened: usize,
}

impl<'r> Files<'r> {
    pub fn new(read: &'r Read<'r>) -> Self {
        Self { read, opened: 0 }
    }

    /// Reads a file that must be there.
    pub fn open(&mut self, file: &str) -> Result<String, ManifestError> {
        self.opened += 1;
        if self.opened > MAX_FILES {
            let message =
                format!("it is one of more than {MAX_FILES} files that lead to each other");
            return Err(wrong_file(file, message));
        }
        existing(file, self.read)
    }
}

/// Reads a file that must be there.
pub(super) fn existing(file: &str, read: &Read<'_>) -> Result<String, ManifestError> {
    read(file)?.ok_or_else(|| wrong_file(file, "there is no such file"))
}

#[cfg(test)]
mod tests {
    use super::super::tests::files;
    use super::*;

    #[test]
    fn files_without_end_are_refused() {
        let read = files(&[("a", "text")]);
        let mut opened = Files::new(&read);
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
