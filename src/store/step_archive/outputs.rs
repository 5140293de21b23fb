//! The paths that a phase creates.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};

use super::ArchiveError;

/// Outputs as paths below a folder; none is inside another one.
#[derive(Debug)]
pub(super) struct Outputs {
    paths: BTreeSet<PathBuf>,
    /// The folders that contain outputs, except the top one.
    parents: BTreeSet<PathBuf>,
}

impl Outputs {
    /// Parses outputs as they are written in the manifest.
    pub fn parse(outputs: &[String]) -> Result<Self, ArchiveError> {
        let mut paths = BTreeSet::new();
        for output in outputs {
            let path = parse(output);
            paths.insert(path.ok_or_else(|| ArchiveError::InvalidOutput(output.clone()))?);
        }
        let is_inside = |path: &PathBuf| path.ancestors().skip(1).any(|it| paths.contains(it));
        let paths: BTreeSet<PathBuf> = paths.iter().filter(|it| !is_inside(it)).cloned().collect();
        let parents = paths.iter().flat_map(|path| path.ancestors().skip(1));
        let parents = parents.filter(|it| !it.as_os_str().is_empty());
        Ok(Self {
            parents: parents.map(Path::to_owned).collect(),
            paths,
        })
    }

    /// Returns the outputs, sorted.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.paths.iter().map(PathBuf::as_path)
    }

    /// Returns the folders that contain outputs, each before those in it.
    pub fn parents(&self) -> impl DoubleEndedIterator<Item = &Path> {
        self.parents.iter().map(PathBuf::as_path)
    }

    /// Returns whether a path is an output or inside one.
    pub fn contain(&self, path: &Path) -> bool {
        path.ancestors().any(|it| self.paths.contains(it))
    }

    /// Returns whether a path is a folder that contains outputs.
    pub fn are_below(&self, path: &Path) -> bool {
        self.parents.contains(path)
    }
}

fn parse(output: &str) -> Option<PathBuf> {
    let mut path = PathBuf::new();
    for component in Path::new(output).components() {
        match component {
            Component::Normal(name) => path.push(name),
            Component::CurDir => {}
            _ => return None,
        }
    }
    // A restored hook would be run by the user's git.
    let first = path.components().next()?;
    let is_git = first.as_os_str().eq_ignore_ascii_case(OsStr::new(".git"));
    let is_text = !output.contains('\0');
    (!is_git && is_text).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_are_paths_below_the_folder() {
        let outputs = ["target/release/app", "./dist/", "dist/x", "target//debug"];
        let outputs = Outputs::parse(&outputs.map(str::to_owned)).unwrap();
        let paths: Vec<&Path> = outputs.paths().collect();
        let expected = ["dist", "target/debug", "target/release/app"];
        assert_eq!(paths, expected.map(Path::new));
        let parents: Vec<&Path> = outputs.parents().collect();
        assert_eq!(parents, ["target", "target/release"].map(Path::new));
        assert!(outputs.contain(Path::new("dist/a/b")));
        assert!(!outputs.contain(Path::new("target/release")));
        for invalid in ["", ".", "/etc", "../x", "a/../../x", ".git", ".GIT/hooks"] {
            let error = Outputs::parse(&[invalid.to_owned()]).unwrap_err();
            assert!(error.to_string().contains(invalid), "{error}");
        }
    }
}
