//! Folders that nobody may write to, in which something is to be changed nevertheless.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// Changes something in the folder of a path. A folder below `root`, or `root` itself, that its owner may
/// not write to is opened for that moment.
pub fn change<T>(
    root: &Path,
    path: &Path,
    mut action: impl FnMut() -> io::Result<T>,
) -> io::Result<T> {
    let refused = match action() {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => error,
        result => return result,
    };
    let Some(parent) = path.parent().filter(|parent| parent.starts_with(root)) else {
        return Err(refused);
    };
    let Some(mode) = mode_of_folder(parent).filter(|mode| mode & 0o300 != 0o300) else {
        return Err(refused);
    };
    if fs::set_permissions(parent, Permissions::from_mode(mode | 0o700)).is_err() {
        return Err(refused);
    }
    let result = action();
    let closed = fs::set_permissions(parent, Permissions::from_mode(mode));
    result.and_then(|done| closed.map(|()| done))
}

/// Removes a folder with all that is in it, closed folders as well.
pub fn remove_folder(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            open_all(path)?;
            fs::remove_dir_all(path)
        }
        removed => removed,
    }
}

fn open_all(path: &Path) -> io::Result<()> {
    let Some(mode) = mode_of_folder(path) else {
        return Ok(());
    };
    if mode & 0o700 != 0o700 {
        fs::set_permissions(path, Permissions::from_mode(mode | 0o700))?;
    }
    for entry in fs::read_dir(path)? {
        open_all(&entry?.path())?;
    }
    Ok(())
}

/// Returns the mode of a folder; none for anything else, links to folders included.
fn mode_of_folder(path: &Path) -> Option<u32> {
    let found = fs::symlink_metadata(path).ok()?;
    found.is_dir().then(|| found.permissions().mode() & 0o7777)
}
