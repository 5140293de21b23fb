//! Changes in write-protected folders.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// Changes something in the folder of a path. If the folder is `root` or below it, and its owner may not write to it,
/// it is made writable for the change.
pub fn change<T>(
    root: &Path,
    path: &Path,
    mut action: impl FnMut() -> io::Result<T>,
) -> io::Result<T> {
    let denied = match action() {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => error,
        result => return result,
    };
    let Some(parent) = path.parent().filter(|parent| parent.starts_with(root)) else {
        return Err(denied);
    };
    let Some(mode) = mode_of_folder(parent).filter(|mode| mode & 0o300 != 0o300) else {
        return Err(denied);
    };
    if fs::set_permissions(parent, Permissions::from_mode(mode | 0o700)).is_err() {
        return Err(denied);
    }
    let result = action();
    let restored = fs::set_permissions(parent, Permissions::from_mode(mode));
    result.and_then(|done| restored.map(|()| done))
}

/// Removes a folder with its contents, including write-protected folders.
pub fn remove_folder(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            make_writable(path)?;
            fs::remove_dir_all(path)
        }
        removed => removed,
    }
}

fn make_writable(path: &Path) -> io::Result<()> {
    let Some(mode) = mode_of_folder(path) else {
        return Ok(());
    };
    if mode & 0o700 != 0o700 {
        fs::set_permissions(path, Permissions::from_mode(mode | 0o700))?;
    }
    for entry in fs::read_dir(path)? {
        make_writable(&entry?.path())?;
    }
    Ok(())
}

/// Returns the mode of a folder; `None` for anything else, including links to folders.
fn mode_of_folder(path: &Path) -> Option<u32> {
    let found = fs::symlink_metadata(path).ok()?;
    found.is_dir().then(|| found.permissions().mode() & 0o7777)
}
