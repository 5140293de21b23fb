//! Read-only file system checks.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::{Access, access, statvfs};

use crate::model::doctor::{CacheState, DiskSpace};
use crate::store::cache;
use crate::store::cache::Ownership;

/// Returns the free space on the file system of a path, if it exists.
pub fn space(path: &Path) -> Option<DiskSpace> {
    let found = statvfs(path).ok()?;
    Some(DiskSpace {
        free: found.f_bavail.saturating_mul(found.f_frsize),
        // File systems that allocate inodes dynamically report 0.
        files: (found.f_files > 0).then_some(found.f_favail),
    })
}

/// Returns the nearest existing ancestor of a path.
pub(super) fn existing(path: &Path) -> &Path {
    let exists = |path: &&Path| fs::symlink_metadata(path).is_ok();
    path.ancestors().find(exists).unwrap_or(path)
}

/// Returns the state of xp's own folder.
pub(super) fn cache_state(folder: &Path) -> CacheState {
    let nearest = existing(folder);
    let denied = |why: String| CacheState::Denied {
        folder: nearest.display().to_string(),
        why,
    };
    if !nearest.is_dir() {
        return denied("not a folder".to_owned());
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

/// Returns whether an existing file is also found by its upper-case name.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_state_depends_on_contents() {
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
    fn case_insensitivity_is_detected() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x-platform.yml");
        fs::write(&file, "").unwrap();
        assert!(!ignores_case(&file));
        // A separate file with the upper-case name does not count.
        fs::write(folder.path().join("X-PLATFORM.YML"), "").unwrap();
        assert!(!ignores_case(&file));
        fs::remove_file(folder.path().join("X-PLATFORM.YML")).unwrap();
        fs::hard_link(&file, folder.path().join("X-PLATFORM.YML")).unwrap();
        assert!(ignores_case(&file));
    }

    #[test]
    fn a_missing_path_has_no_space() {
        assert!(space(Path::new("/")).unwrap().free > 0);
        assert_eq!(space(Path::new("/no/such/folder")), None);
    }
}
