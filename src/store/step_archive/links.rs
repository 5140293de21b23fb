//! Symbolic links in archives.

use std::collections::HashSet;
use std::path::{Component, Path, PathBuf};

/// Returns whether a link at `path` stays inside the top folder, given the real folders of the archive.
///
/// A target may lead through other links, so `..` is accepted only after real folders: after a link, it would lead to
/// the parent of that link's target.
pub(super) fn stays_inside(path: &Path, target: &Path, folders: &HashSet<PathBuf>) -> bool {
    let mut at = path.parent().unwrap_or(path).to_owned();
    for component in target.components() {
        match component {
            Component::Normal(name) => at.push(name),
            Component::CurDir => {}
            Component::ParentDir => {
                if !folders.contains(&at) || !at.pop() {
                    return false;
                }
            }
            Component::RootDir | Component::Prefix(_) => return false,
        }
    }
    !target.as_os_str().is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_stay_inside() {
        let folders = ["a", "a/b", "a/b/c"].map(PathBuf::from).into();
        let check =
            |path: &str, target: &str| stays_inside(Path::new(path), Path::new(target), &folders);
        for (path, target) in [
            ("x", "y"),
            ("x", "./y/z"),
            ("x", "a/b/../y"),
            ("a/b/x", "../../y"),
            ("a/b/x", "../.."),
            ("a/b/c/x", ".."),
        ] {
            assert!(check(path, target), "{path} -> {target}");
        }
        for (path, target) in [
            ("x", ""),
            ("x", "/etc"),
            ("x", ".."),
            ("x", "y/.."),
            ("x", "y/../../z"),
            ("a/x", "../.."),
            ("a/x", "b/../../../y"),
            ("a/b/x", "../l/../y"),
        ] {
            assert!(!check(path, target), "{path} -> {target}");
        }
    }
}
