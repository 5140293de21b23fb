//! What the file system says of folders and programs, without anything being written.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access, statvfs};

use crate::cache::{self, Ownership};
use crate::doctor::{CacheState, Space};

/// Returns what the file system of a path has left, where the path exists.
pub(super) fn space(path: &Path) -> Option<Space> {
    let found = statvfs(path).ok()?;
    Some(Space {
        free: found.f_bavail.saturating_mul(found.f_frsize),
        // Some file systems make inodes as they need them, and count none.
        files: (found.f_files > 0).then_some(found.f_favail),
    })
}

/// Returns the nearest folder that exists, from a path upwards.
pub(super) fn existing(path: &Path) -> &Path {
    let exists = |path: &&Path| fs::symlink_metadata(path).is_ok();
    path.ancestors().find(exists).unwrap_or(path)
}

/// Tells what xp's own folder is, and whether it can be written.
pub(super) fn cache_state(folder: &Path) -> CacheState {
    let nearest = existing(folder);
    let denied = |why: String| CacheState::Denied {
        folder: nearest.display().to_string(),
        why,
    };
    if !nearest.is_dir() {
        return denied("it is no folder".to_owned());
    }
    if let Err(error) = access(nearest, Access::WRITE_OK | Access::EXEC_OK) {
        return denied(std::io::Error::from(error).to_string());
    }
    if nearest != folder {
        return CacheState::Absent;
    }
    match cache::ownership(folder) {
        Ok(Ownership::Own | Ownership::Empty) => CacheState::Own,
        Ok(Ownership::Foreign) => CacheState::Foreign,
        Err(error) => denied(error.to_string()),
    }
}

/// Tells whether a file that exists is found under its name in capital letters, too.
pub(super) fn ignores_case(file: &Path) -> bool {
    let name = file.file_name().map(|name| name.to_ascii_uppercase());
    let other = name.map(|name| file.with_file_name(name));
    let identity = |path: &Path| {
        let metadata = fs::metadata(path).ok()?;
        Some((metadata.dev(), metadata.ino()))
    };
    other.is_some_and(|other| {
        other != file && identity(&other).is_some() && identity(&other) == identity(file)
    })
}

/// Finds a program in the folders of `PATH`.
pub(crate) fn program(name: &str, path: &str) -> Option<PathBuf> {
    let files = path
        .split(':')
        .filter(|folder| !folder.is_empty())
        .map(|folder| Path::new(folder).join(name));
    files
        .into_iter()
        .find(|file| file.is_file() && access(file, Access::EXEC_OK).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_own_or_foreign_or_absent() {
        let folder = tempfile::tempdir().unwrap();
        let own = folder.path().join("a/own");
        assert_eq!(cache_state(&own), CacheState::Absent);
        assert!(cache::claim(&own).unwrap());
        assert_eq!(cache_state(&own), CacheState::Own);
        fs::write(folder.path().join("thesis.txt"), "precious").unwrap();
        assert_eq!(cache_state(folder.path()), CacheState::Foreign);
        let below_file = cache_state(&folder.path().join("thesis.txt/own"));
        assert!(matches!(below_file, CacheState::Denied { .. }));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn names_differ_by_their_case() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x-platform.yml");
        fs::write(&file, "").unwrap();
        assert!(!ignores_case(&file));
        // Another file of that name is none that is found by both.
        fs::write(folder.path().join("X-PLATFORM.YML"), "").unwrap();
        assert!(!ignores_case(&file));
        fs::remove_file(folder.path().join("X-PLATFORM.YML")).unwrap();
        fs::hard_link(&file, folder.path().join("X-PLATFORM.YML")).unwrap();
        assert!(ignores_case(&file));
    }

    #[test]
    fn programs_are_found_where_they_can_be_run() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("tool"), "").unwrap();
        let path = format!(":/nowhere:{}:/bin:/usr/bin", folder.path().display());
        assert_eq!(program("tool", &path), None);
        assert!(program("sh", &path).is_some());
    }

    #[test]
    fn space_is_told_of_what_exists() {
        assert!(space(Path::new("/")).unwrap().free > 0);
        assert_eq!(space(Path::new("/no/such/folder")), None);
    }
}
