//! What a folder holds that a manifest can be made of: for `xp init`.
//!
//! Only reads: working copies are opened, and no remote is asked.

mod folder;
mod working_copy;

use std::path::{Path, PathBuf};

use crate::error::{Diagnostic, chain};
use crate::init::{Folder, join_path};
use crate::manifest::ManifestError;
use crate::manifest::error::Problem;
use crate::manifest::file;

/// Looks at a folder and the working copies in it.
///
/// Blocks, and must run where it may. `own_files` is the folder that xp keeps its own files in.
///
/// # Errors
///
/// The folder cannot be read.
pub fn discover(root: &Path, own_files: &Path) -> std::io::Result<Folder> {
    let (dirs, mut unreadable) = folder::working_copies(root, own_files)?;
    let mut repositories = Vec::new();
    for dir in dirs {
        match working_copy::survey(root, &dir) {
            Ok(Some(repository)) => repositories.push(repository),
            Ok(None) => {}
            Err(error) => unreadable.push((dir, told(root, &error))),
        }
    }
    let name = root
        .file_name()
        .map(|name| name.to_string_lossy().into_owned());
    Ok(Folder {
        name: name.unwrap_or_else(|| root.display().to_string()),
        repositories,
        repo_remote: working_copy::remote(&root.join(".repo/manifests")),
        unreadable,
    })
}

/// Returns what reads the files of a folder, by their paths from it on.
pub fn reader(root: &Path) -> impl Fn(&str) -> Result<Option<String>, ManifestError> + use<> {
    let root: PathBuf = root.to_owned();
    move |path| {
        let Some(inside) = join_path(".", path).filter(|inside| inside != ".") else {
            return Ok(None);
        };
        let file = root.join(inside);
        // Neither a folder nor a pipe, which would be waited for.
        if !file.metadata().is_ok_and(|metadata| metadata.is_file()) {
            return Ok(None);
        }
        let unreadable = |problem: Problem| ManifestError::unreadable(path.to_owned(), problem);
        file::read(&file, "file", "it was there a moment ago")
            .map(Some)
            .map_err(unreadable)
    }
}

/// Returns an error in one line, with what can be done about it; paths start from the folder, because
/// others, for whom it lies elsewhere, read the manifest.
fn told(root: &Path, error: &dyn Diagnostic) -> String {
    let chain = chain(error).replace("\n  cause: ", ": ");
    let parts = std::iter::once(chain).chain(error.hints());
    let told = parts.collect::<Vec<_>>().join("; ");
    told.replace(&format!("{}/", root.display()), "")
}
