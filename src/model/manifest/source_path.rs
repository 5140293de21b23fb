//! Paths in the source of a service.

use std::fmt;
use std::path::{Path, PathBuf};

use super::decode::path::within_context;

/// A path in the source of a service: relative to the service's folder, or to the repository root if it starts
/// with `/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourcePath(String);

impl SourcePath {
    /// Parses and normalizes a path.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let Some(from_top) = text.strip_prefix('/') else {
            let path = within_context(text).map_err(|message| {
                if text.split('/').any(|part| part == "..") {
                    format!("{message}; `/` is the repository root")
                } else {
                    message
                }
            })?;
            return Ok(Self(path));
        };
        Ok(Self(match within_context(from_top)?.as_str() {
            "." => "/".to_owned(),
            path => format!("/{path}"),
        }))
    }

    /// Returns the default Dockerfile.
    pub fn dockerfile() -> Self {
        Self("Dockerfile".to_owned())
    }

    /// Returns the path of a file from the paths of the repository's top, the service's folder and the file itself.
    pub fn of(top: &Path, folder: &Path, file: &Path) -> Self {
        let relative = file.strip_prefix(folder).map_or_else(
            |_| format!("/{}", file.strip_prefix(top).unwrap_or(file).display()),
            |path| path.display().to_string(),
        );
        Self(relative)
    }

    /// Returns whether this is certain to be a folder: the service's or the repository's.
    pub fn is_top_folder(&self) -> bool {
        matches!(self.0.as_str(), "." | "/")
    }

    /// Returns whether the path is relative to the repository root.
    pub fn is_from_top(&self) -> bool {
        self.0.starts_with('/')
    }

    /// Returns the path on this machine from those of the repository's top and the service's folder.
    pub fn below(&self, top: &Path, folder: &Path) -> PathBuf {
        let (start, rest) = match self.0.strip_prefix('/') {
            Some(rest) => (top, rest),
            None => (folder, self.0.as_str()),
        };
        // `join(".")` would show up in the output.
        match rest {
            "" | "." => start.to_owned(),
            _ => start.join(rest),
        }
    }

    /// Returns the normalized text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for SourcePath {
    fn default() -> Self {
        Self(".".to_owned())
    }
}

impl fmt::Display for SourcePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_starts_in_the_folder_or_at_the_top() {
        let (top, folder) = (Path::new("/e"), Path::new("/e/services/a"));
        for (text, normalized, path) in [
            (".", ".", "/e/services/a"),
            ("./docker//x/", "docker/x", "/e/services/a/docker/x"),
            ("/", "/", "/e"),
            ("/.", "/", "/e"),
            ("/docker/./x", "/docker/x", "/e/docker/x"),
        ] {
            let parsed = SourcePath::parse(text).unwrap();
            assert_eq!(parsed.as_str(), normalized, "{text}");
            assert_eq!(parsed.below(top, folder), Path::new(path), "{text}");
            assert_eq!(SourcePath::parse(normalized).unwrap(), parsed, "{text}");
        }
        for invalid in [
            "..", "../x", "a/..", "/..", "/a/../..", "//", "//x", "~", "/~/x", "a\\b",
        ] {
            assert!(SourcePath::parse(invalid).is_err(), "{invalid}");
        }
    }

    #[test]
    fn a_file_is_relative_to_the_folder_if_it_is_in_it() {
        let (top, folder) = (Path::new("/e"), Path::new("/e/services/a"));
        for (file, expected) in [
            ("/e/services/a/docker/Dockerfile", "docker/Dockerfile"),
            ("/e/services/ab/Dockerfile", "/services/ab/Dockerfile"),
            ("/e/Dockerfile", "/Dockerfile"),
        ] {
            let path = SourcePath::of(top, folder, Path::new(file));
            assert_eq!(path.as_str(), expected);
            assert_eq!(path.below(top, folder), Path::new(file));
        }
    }
}
