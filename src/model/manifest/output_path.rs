//! The files and folders that a phase writes.

use std::fmt;

use super::source_path::SourcePath;

/// A file or folder that a phase writes: relative to the service's folder, or to the repository root if it starts with `/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputPath(SourcePath);

impl OutputPath {
    /// Parses and normalizes a path.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.contains(['*', '?', '[']) {
            return Err(format!(
                "invalid path `{text}`: outputs are files and folders, without wildcards"
            ));
        }
        let path = SourcePath::parse(text)?;
        if path.is_top_folder() {
            return Err(format!(
                "invalid path `{text}`: name the files and folders that the phase writes"
            ));
        }
        if path.as_str().split('/').any(|part| part == ".git") {
            return Err(format!(
                "invalid path `{text}`: phases with `inputs` have no `.git`"
            ));
        }
        Ok(Self(path))
    }

    /// Returns the path in the repository of a service in a folder of it.
    pub fn in_repository(&self, folder: Option<&str>) -> String {
        match (self.0.as_str().strip_prefix('/'), folder) {
            (Some(path), _) => path.to_owned(),
            (None, Some(folder)) => format!("{folder}/{}", self.0),
            (None, None) => self.0.to_string(),
        }
    }
}

impl fmt::Display for OutputPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_are_in_the_repository() {
        for (text, path) in [
            ("./dist/", "svc/dist"),
            ("/dist", "dist"),
            ("a/b", "svc/a/b"),
        ] {
            let output = OutputPath::parse(text).unwrap();
            assert_eq!(output.in_repository(Some("svc")), path);
        }
        let output = OutputPath::parse("dist").unwrap();
        assert_eq!(output.in_repository(None), "dist");
        for text in [".", "/", "../x", "dist/*.js", ".git", "a/.git/b", "~/x", ""] {
            assert!(OutputPath::parse(text).is_err(), "{text}");
        }
    }
}
