//! Scans a folder for working copies, as input of `xp init`.
//!
//! Read-only and offline.

mod folder;
mod working_copy;

use std::path::{Path, PathBuf};

use crate::base::error::{Diagnostic, chain};
use crate::model::init::{PlatformFolder, join_path};
use crate::model::manifest::ManifestError;
use crate::model::manifest::error::SourceProblem;
use crate::model::manifest::file;

/// Scans a folder and the working copies in it, except `own_files`, the folder with xp's own files.
///
/// Blocking: call it from a blocking thread.
///
/// # Errors
///
/// The folder cannot be read.
pub fn discover(root: &Path, own_files: &Path) -> std::io::Result<PlatformFolder> {
    let (dirs, mut unreadable) = folder::working_copies(root, own_files)?;
    let mut repositories = Vec::new();
    for dir in dirs {
        match working_copy::survey(root, &dir) {
            Ok(Some(repository)) => repositories.push(repository),
            Ok(None) => {}
            Err(error) => unreadable.push((dir, one_line(root, &error))),
        }
    }
    let name = root
        .file_name()
        .map(|name| name.to_string_lossy().into_owned());
    Ok(PlatformFolder {
        name: name.unwrap_or_else(|| root.display().to_string()),
        repositories,
        repo_remote: working_copy::remote(&root.join(".repo/manifests")),
        unreadable,
    })
}

/// Returns a function that reads files by their paths relative to a folder.
pub fn file_reader(root: &Path) -> impl Fn(&str) -> Result<Option<String>, ManifestError> + use<> {
    let root: PathBuf = root.to_owned();
    move |path| {
        let Some(inside) = join_path(".", path).filter(|inside| inside != ".") else {
            return Ok(None);
        };
        let file = root.join(inside);
        // Reading a pipe would block.
        if !file.metadata().is_ok_and(|metadata| metadata.is_file()) {
            return Ok(None);
        }
        let unreadable =
            |problem: SourceProblem| ManifestError::unreadable(path.to_owned(), problem);
        file::read(&file, "file", "it existed a moment ago")
            .map(Some)
            .map_err(unreadable)
    }
}

/// Returns an error and its hints on one line. Paths are relative to the folder, because the manifest is
/// also read on other machines.
fn one_line(root: &Path, error: &dyn Diagnostic) -> String {
    let chain = chain(error).replace("\n  cause: ", ": ");
    let parts = std::iter::once(chain).chain(error.hints());
    let text = parts.collect::<Vec<_>>().join("; ");
    text.replace(&format!("{}/", root.display()), "")
}
