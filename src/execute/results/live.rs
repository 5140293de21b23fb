//! The outputs of phases in a build: they are moved from the folder of one phase to that of the next.

use std::fs::{self, Permissions};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use crate::base::tree;
use crate::model::step_result::StepResult;
use crate::store::step_archive::{ArchiveError, unpack};
use crate::store::step_results::StepStore;

/// The outputs of a phase that ran or was restored.
#[derive(Debug, Clone)]
pub struct LiveResult {
    /// The files and folders, relative to the repository.
    pub outputs: Vec<String>,
    /// The folder that has them: that of a phase, or the export.
    pub folder: PathBuf,
    /// Whether that is the export: then they stay there, as scripts without `inputs` may have changed them.
    pub is_exported: bool,
    /// What they looked like when the phase ended.
    fingerprint: u64,
    /// The result in the store; `None` if it could not be saved.
    pub saved: Option<StepResult>,
}

impl LiveResult {
    /// Returns outputs in the folder of their phase.
    pub fn new(outputs: Vec<String>, folder: PathBuf, saved: Option<StepResult>) -> Self {
        Self {
            fingerprint: fingerprint(&folder, &outputs),
            outputs,
            folder,
            is_exported: false,
            saved,
        }
    }

    /// Makes the outputs available in another folder as their phase left them; blocks. Scripts of other phases may have
    /// changed them since: then they come from the archive.
    ///
    /// # Errors
    ///
    /// A file cannot be moved or written.
    pub fn place(&mut self, to: &Path, is_export: bool, store: &StepStore) -> io::Result<()> {
        if self.is_exported {
            // They stay there: the image is built from them.
            if !is_export && !self.unpack(to, store) {
                self.for_each(to, tree::copy)?;
            }
            return Ok(());
        }
        let is_same = fingerprint(&self.folder, &self.outputs) == self.fingerprint;
        if !is_same && self.unpack(to, store) {
            self.fingerprint = fingerprint(to, &self.outputs);
        } else {
            let moved = self.for_each(to, rename);
            // A working copy may be on another file system than `cacheDir`.
            let is_elsewhere = |error: &io::Error| error.kind() == io::ErrorKind::CrossesDevices;
            if moved.as_ref().is_err_and(is_elsewhere) {
                if !self.unpack(to, store) {
                    self.for_each(to, tree::copy)?;
                }
            } else {
                moved?;
            }
        }
        self.folder = to.to_owned();
        self.is_exported = is_export;
        Ok(())
    }

    /// Puts each output into another folder, whose other files stay.
    fn for_each(&self, to: &Path, put: fn(&Path, &Path) -> io::Result<()>) -> io::Result<()> {
        for output in &self.outputs {
            let target = to.join(output);
            if let Some(parent) = target.parent() {
                reject_links(parent, to)?;
                fs::create_dir_all(parent)?;
            }
            tree::remove(&target)?;
            put(&self.folder.join(output), &target)?;
        }
        Ok(())
    }

    fn unpack(&self, to: &Path, store: &StepStore) -> bool {
        let Some(result) = &self.saved else {
            return false;
        };
        unpack_stored(result, &self.outputs, to, store).is_ok()
    }
}

/// Unpacks the archive of a result in the store; a damaged one is removed.
///
/// # Errors
///
/// The archive is missing or damaged, or a file cannot be written.
pub fn unpack_stored(
    result: &StepResult,
    outputs: &[String],
    to: &Path,
    store: &StepStore,
) -> Result<(), ArchiveError> {
    let opened = store.open_archive(result);
    let (Some(blob), Some(archive)) = (
        &result.outputs,
        opened.map_err(|error| ArchiveError::Damaged(error.to_string()))?,
    ) else {
        return Ok(());
    };
    let unpacked = unpack(archive, to, outputs, blob);
    if let Err(ArchiveError::Damaged(_)) = &unpacked {
        store.remove(result);
    }
    unpacked
}

/// Renames a file or folder, also a folder that is not writable.
fn rename(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            let permissions = fs::symlink_metadata(from)?.permissions();
            fs::set_permissions(from, Permissions::from_mode(permissions.mode() | 0o700))?;
            fs::rename(from, to)?;
            fs::set_permissions(to, permissions)
        }
        renamed => renamed,
    }
}

/// Rejects a folder below another one that a symbolic link leads to: it may be anywhere.
fn reject_links(path: &Path, folder: &Path) -> io::Result<()> {
    for parent in path.ancestors().take_while(|it| *it != folder) {
        if fs::symlink_metadata(parent).is_ok_and(|found| found.is_symlink()) {
            let what = format!("{} is a symbolic link", parent.display());
            return Err(io::Error::other(what));
        }
    }
    Ok(())
}

/// Returns a number that changes with the files: their names, kinds, modes, sizes, times and identities.
fn fingerprint(folder: &Path, outputs: &[String]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for output in outputs {
        let top = folder.join(output);
        for entry in WalkDir::new(&top).sort_by_file_name() {
            let Ok(entry) = entry else {
                "unreadable".hash(&mut hasher);
                continue;
            };
            entry
                .path()
                .strip_prefix(&top)
                .unwrap_or(entry.path())
                .hash(&mut hasher);
            if let Ok(found) = entry.metadata() {
                let size = if found.is_dir() { 0 } else { found.size() };
                (found.mode(), size, found.ino()).hash(&mut hasher);
                (found.mtime(), found.mtime_nsec()).hash(&mut hasher);
            }
        }
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::layout::Layout;

    #[test]
    fn outputs_are_moved_and_links_are_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (folder.path().join("a"), folder.path().join("b"));
        fs::create_dir_all(a.join("x/out")).unwrap();
        fs::write(a.join("x/out/file"), "1").unwrap();
        let store = StepStore::open(&Layout::new(folder.path().join(".xp")), 1 << 30);
        let mut live = LiveResult::new(vec!["x/out".to_owned()], a.clone(), None);
        fs::create_dir_all(b.join("x/out/old")).unwrap();
        live.place(&b, false, &store).unwrap();
        assert!(!a.join("x/out").exists() && !b.join("x/out/old").exists());
        assert_eq!(fs::read_to_string(b.join("x/out/file")).unwrap(), "1");

        let export = folder.path().join("export");
        fs::create_dir_all(&export).unwrap();
        std::os::unix::fs::symlink(&a, export.join("x")).unwrap();
        assert!(live.place(&export, true, &store).is_err());
        fs::remove_file(export.join("x")).unwrap();
        live.place(&export, true, &store).unwrap();
        assert!(live.is_exported && export.join("x/out/file").exists());
        live.place(&export, true, &store).unwrap();

        // Without a saved archive, a later phase gets copies.
        live.place(&b, false, &store).unwrap();
        assert!(b.join("x/out/file").exists() && export.join("x/out/file").exists());
        assert!(live.is_exported && live.folder == export);
    }

    #[test]
    fn a_fingerprint_changes_with_the_files() {
        let folder = tempfile::tempdir().unwrap();
        let outputs = ["out".to_owned()];
        fs::create_dir(folder.path().join("out")).unwrap();
        let empty = fingerprint(folder.path(), &outputs);
        fs::write(folder.path().join("out/a"), "1").unwrap();
        let one = fingerprint(folder.path(), &outputs);
        assert_eq!(one, fingerprint(folder.path(), &outputs));
        fs::set_permissions(folder.path().join("out/a"), Permissions::from_mode(0o755)).unwrap();
        let executable = fingerprint(folder.path(), &outputs);
        assert!(empty != one && one != executable);
    }
}
