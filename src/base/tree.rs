//! Copying and removing folders.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};
use walkdir::WalkDir;

/// Copies a file, a link, or a folder with everything in it, with permissions and times. Links are not followed; `to` must
/// not exist.
///
/// # Errors
///
/// If something cannot be read or written, or is none of these, such as a socket.
pub fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let metadata = fs::symlink_metadata(from)?;
    let kind = metadata.file_type();
    if kind.is_symlink() {
        symlink(fs::read_link(from)?, to)?;
    } else if kind.is_dir() {
        fs::create_dir(to)?;
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            copy(&entry.path(), &to.join(entry.file_name()))?;
        }
        fs::set_permissions(to, metadata.permissions())?;
    } else if kind.is_file() {
        fs::copy(from, to)?;
    } else {
        let what = format!("{} is not a file, a folder or a link", from.display());
        return Err(io::Error::other(what));
    }
    set_times(to, &metadata)
}

fn set_times(path: &Path, like: &Metadata) -> io::Result<()> {
    let time = |seconds, nanoseconds| Timespec {
        tv_sec: seconds,
        tv_nsec: nanoseconds,
    };
    let times = Timestamps {
        last_access: time(like.atime(), like.atime_nsec()),
        last_modification: time(like.mtime(), like.mtime_nsec()),
    };
    Ok(utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

/// Removes a file, a link, or a folder with everything in it, even if folders are not writable. Links are not followed;
/// a path that does not exist is fine.
///
/// # Errors
///
/// If something cannot be removed.
pub fn remove(path: &Path) -> io::Result<()> {
    let metadata = match fs::symlink_metadata(path) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(()),
        metadata => metadata?,
    };
    if !metadata.is_dir() {
        return fs::remove_file(path);
    }
    match fs::remove_dir_all(path) {
        Err(cause) if cause.kind() == io::ErrorKind::PermissionDenied => {
            // WalkDir yields a folder before opening it, so the mode is set in time.
            for entry in WalkDir::new(path).follow_links(false) {
                let Ok(entry) = entry else { continue };
                if entry.file_type().is_dir() {
                    _ = fs::set_permissions(entry.path(), fs::Permissions::from_mode(0o700));
                }
            }
            fs::remove_dir_all(path)
        }
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_have_the_same_contents_modes_and_times() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        fs::create_dir_all(from.join("read-only")).unwrap();
        fs::write(from.join("read-only/file"), "1").unwrap();
        symlink("/nowhere", from.join("link")).unwrap();
        for (path, mode) in [("read-only/file", 0o751), ("read-only", 0o555)] {
            fs::set_permissions(from.join(path), fs::Permissions::from_mode(mode)).unwrap();
        }
        copy(&from, &to).unwrap();
        for path in ["", "read-only", "read-only/file", "link"] {
            let one = fs::symlink_metadata(from.join(path)).unwrap();
            let two = fs::symlink_metadata(to.join(path)).unwrap();
            let facts = |it: &Metadata| (it.mode(), it.mtime(), it.mtime_nsec());
            assert_eq!(facts(&one), facts(&two), "{path}");
        }
        assert_eq!(fs::read_to_string(to.join("read-only/file")).unwrap(), "1");
        assert_eq!(
            fs::read_link(to.join("link")).unwrap(),
            Path::new("/nowhere")
        );
        assert!(copy(&from, &to).is_err());
        remove(&to).unwrap();
        remove(&from).unwrap();
    }
}
