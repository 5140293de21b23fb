//! The folders of a working copy in which source files may be.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use git2::Index;

use super::working_copy::{Opened, WorkingCopy};
use crate::client::git::GitError;
use crate::model::source::PathSelection;

impl WorkingCopy {
    /// Returns the folders of the working copy and its submodules that may contain files of one of the selections:
    /// without those that git ignores, such as `node_modules`, and without `excluded`.
    ///
    /// `visit` is called with each folder before it is read, so that nothing created meanwhile is missed if it starts to
    /// watch the folder. Folders that cannot be read are left out.
    ///
    /// # Errors
    ///
    /// Those of `visit`.
    pub fn visit_source_folders<E>(
        &self,
        selections: &[&PathSelection],
        excluded: &Path,
        visit: &mut dyn FnMut(&Path) -> Result<(), E>,
    ) -> Result<(), E> {
        let index = self.repository.index().ok();
        let mut waiting = vec![PathBuf::new()];
        while let Some(relative) = waiting.pop() {
            let folder = self.dir.join(&relative);
            visit(&folder)?;
            for name in subfolders(&folder) {
                let (relative, path) = (relative.join(&name), folder.join(&name));
                let bytes = relative.as_os_str().as_bytes();
                let is_outside = selections.iter().all(|it| it.is_outside(bytes));
                if name == ".git" || path == excluded || is_outside {
                    continue;
                }
                if let Ok(Opened::WorkingCopy(inner)) = repository_in(&path) {
                    inner.visit_source_folders(&[&PathSelection::default()], excluded, visit)?;
                } else if self.has_source(&relative, index.as_ref()) {
                    waiting.push(relative);
                }
            }
        }
        Ok(())
    }

    /// Returns whether a path, relative to the working copy, may be or contain a source file: git tracks it, or does not
    /// ignore it.
    pub fn is_source(&self, path: &Path) -> bool {
        let relative = path.to_string_lossy();
        let as_folder = format!("{relative}/");
        let is_folder = self.dir.join(path).is_dir();
        let ignored = self.ignores(if is_folder { &as_folder } else { &relative });
        if !ignored {
            return true;
        }
        let index = self.repository.index().ok();
        index.is_some_and(|index| {
            index.get_path(path, 0).is_some() || index.find_prefix(as_folder).is_ok()
        })
    }

    fn has_source(&self, folder: &Path, index: Option<&Index>) -> bool {
        let prefix = format!("{}/", folder.to_string_lossy());
        !self.ignores(&prefix) || index.is_some_and(|index| index.find_prefix(prefix).is_ok())
    }
}

/// Opens the repository of a submodule, or another one inside a working copy.
fn repository_in(folder: &Path) -> Result<Opened, GitError> {
    if folder.join(".git").symlink_metadata().is_err() {
        return Ok(Opened::OtherFiles);
    }
    WorkingCopy::open(folder)
}

fn subfolders(folder: &Path) -> Vec<OsString> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    folders.map(|entry| entry.file_name()).collect()
}
