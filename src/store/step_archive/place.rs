//! Moves unpacked outputs into place.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::ArchiveError;
use super::outputs::Outputs;
use super::staging::Staging;

/// Renames outputs from the staging folder to `folder`, each as a whole; existing ones are replaced. After an error, what
/// was there before is back.
pub(super) fn place(
    staging: &Staging,
    folder: &Path,
    outputs: &Outputs,
) -> Result<(), ArchiveError> {
    let mut missing = Vec::new();
    for parent in outputs.parents() {
        let path = folder.join(parent);
        match fs::symlink_metadata(&path) {
            Ok(found) if found.is_dir() => {}
            Ok(_) => return Err(ArchiveError::Conflict(path)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => missing.push(path),
            Err(error) => return Err(ArchiveError::file("read", &path)(error)),
        }
    }
    let mut moves = Moves::default();
    let place = || {
        for path in missing {
            fs::create_dir(&path).map_err(ArchiveError::file("create", &path))?;
            moves.created.push(path);
        }
        for (number, output) in outputs.paths().enumerate() {
            let target = folder.join(output);
            if target.symlink_metadata().is_ok() {
                moves.rename(&target, &staging.replaced().join(number.to_string()))?;
            }
            moves.rename(&staging.unpacked().join(output), &target)?;
        }
        Ok(())
    };
    let placed = place();
    if placed.is_err() {
        moves.undo();
    }
    placed
}

#[derive(Default)]
struct Moves {
    created: Vec<PathBuf>,
    renamed: Vec<(PathBuf, PathBuf)>,
}

impl Moves {
    fn rename(&mut self, from: &Path, to: &Path) -> Result<(), ArchiveError> {
        let failed = || ArchiveError::file("replace", to);
        // Moving a folder changes its `..`, so it must be writable.
        let found = from.symlink_metadata().map_err(failed())?;
        let is_locked = found.is_dir() && found.mode() & 0o200 == 0;
        if is_locked {
            let mode = Permissions::from_mode(found.mode() | 0o200);
            fs::set_permissions(from, mode).map_err(failed())?;
        }
        fs::rename(from, to).map_err(failed())?;
        self.renamed.push((from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn undo(self) {
        for (from, to) in self.renamed.into_iter().rev() {
            _ = fs::rename(to, from);
        }
        for folder in self.created.into_iter().rev() {
            _ = fs::remove_dir(folder);
        }
    }
}
