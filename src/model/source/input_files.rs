//! The files of a commit that a phase reads, by git's object IDs.

use super::ScopedPattern;

/// A file, symbolic link or submodule of a commit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct InputFile {
    /// Its path in the repository.
    pub path: Vec<u8>,
    /// Its mode in git's tree.
    pub mode: u32,
    /// The ID of its content; for a submodule, of its commit.
    pub id: String,
}

impl InputFile {
    /// Returns its path for display.
    pub fn shown_path(&self) -> String {
        let path = String::from_utf8_lossy(&self.path);
        path.chars().flat_map(char::escape_debug).collect()
    }
}

/// The files of a commit that a phase reads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InputFiles {
    /// The files that the patterns match, sorted by path.
    pub files: Vec<InputFile>,
    /// The files that determine how others are checked out: `.gitattributes` in their folders and above.
    pub attributes: Vec<InputFile>,
}

impl InputFiles {
    /// Returns the patterns that match no file.
    pub fn unmatched<'p>(&self, patterns: &'p [ScopedPattern]) -> Vec<&'p ScopedPattern> {
        let is_unmatched = |pattern: &&ScopedPattern| {
            !pattern.excludes && !self.files.iter().any(|file| pattern.matches(&file.path))
        };
        patterns.iter().filter(is_unmatched).collect()
    }
}
