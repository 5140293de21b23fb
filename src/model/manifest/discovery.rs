//! Finds the manifest, and decides whether it can be trusted without being named explicitly.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::DEFAULT_NAME;

/// Searches for a manifest in a folder and its parents, like git does for a repository.
pub fn find(directory: &Path) -> Option<PathBuf> {
    directory
        .ancestors()
        .map(|folder| folder.join(DEFAULT_NAME))
        .find(|file| file.is_file())
}

/// Returns the owner of a manifest that [`find`] found above `directory`, if it is not one of `trusted`.
///
/// A manifest decides what is mounted and run, and anyone can leave one in a folder like `/tmp`. The owner of the
/// folder counts as well, because the builders are in it, and so does the owner of a symbolic link, which any user
/// can make to any file. Root can change all files anyway, so folders of root are accepted.
pub fn foreign_owner(directory: &Path, file: &Path, trusted: &[u32]) -> Option<u32> {
    if is_in(directory, file) {
        return None;
    }
    let owner = |found: io::Result<Metadata>| found.ok().map(|metadata| metadata.uid());
    let folder = file.parent().map(fs::metadata).and_then(owner);
    let files = [fs::symlink_metadata(file), fs::metadata(file)].map(owner);
    let owners = folder.filter(|owner| *owner != 0);
    let mut owners = files.into_iter().flatten().chain(owners);
    owners.find(|owner| !trusted.contains(owner))
}

/// Returns whether a manifest that [`find`] found is neither in `directory` nor in its git repository.
pub fn is_outside(directory: &Path, file: &Path) -> bool {
    let mut around = directory.ancestors();
    let repository = around.find(|folder| folder.join(".git").exists());
    !is_in(directory, file) && repository.is_none_or(|repository| !file.starts_with(repository))
}

fn is_in(directory: &Path, file: &Path) -> bool {
    file.parent() == Some(directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Creates a folder with a manifest, and a subfolder.
    fn platform() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(DEFAULT_NAME);
        fs::write(&file, "").unwrap();
        let below = folder.path().join("src/back");
        fs::create_dir_all(&below).unwrap();
        (folder, file, below)
    }

    #[test]
    fn a_manifest_in_a_parent_folder_must_belong_to_the_caller() {
        let (folder, file, below) = platform();
        let own = fs::metadata(&file).unwrap().uid();
        assert_eq!(find(&below), Some(file.clone()));
        assert_eq!(foreign_owner(&below, &file, &[own]), None);
        assert_eq!(foreign_owner(&below, &file, &[own + 1]), Some(own));
        assert_eq!(foreign_owner(&below, &file, &[own + 1, own]), None);
        // The current folder is trusted.
        assert_eq!(foreign_owner(folder.path(), &file, &[own + 1]), None);
    }

    #[test]
    fn the_owner_of_a_symbolic_link_counts() {
        let (_folder, file, below) = platform();
        let target = below.join("mine.yml");
        fs::rename(&file, &target).unwrap();
        std::os::unix::fs::symlink(&target, &file).unwrap();
        let own = fs::metadata(&target).unwrap().uid();
        if own != 0 {
            return;
        }
        // As root, the test can change the owner of the link.
        std::os::unix::fs::lchown(&file, Some(1234), None).unwrap();
        assert_eq!(foreign_owner(&below, &file, &[own]), Some(1234));
        std::os::unix::fs::lchown(&file, Some(own), None).unwrap();
        std::os::unix::fs::chown(file.parent().unwrap(), Some(1234), None).unwrap();
        assert_eq!(foreign_owner(&below, &file, &[own]), Some(1234));
    }

    #[test]
    fn a_manifest_outside_the_repository_is_detected() {
        let (folder, file, below) = platform();
        assert!(!is_outside(folder.path(), &file));
        assert!(is_outside(&below, &file), "there is no repository");
        fs::create_dir(folder.path().join(".git")).unwrap();
        assert!(!is_outside(&below, &file));
        fs::write(below.join(".git"), "gitdir: elsewhere").unwrap();
        assert!(is_outside(&below, &file));
    }
}
