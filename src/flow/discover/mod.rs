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
        enclosing: None,
        unreadable,
    })
}

/// A folder below the top of a git repository.
#[derive(Debug)]
pub struct FolderInRepository {
    /// The top of the working copy.
    pub top: PathBuf,
    /// The folder, relative to the top.
    pub below: String,
    /// Whether files of the folder are in the commit to build.
    pub is_tracked: bool,
}

/// Returns the repository that contains a folder; `None` if the folder is itself a working copy, or if git ignores
/// it.
///
/// Blocking: call it from a blocking thread.
pub fn enclosing(folder: &Path) -> Option<FolderInRepository> {
    if folder::is_working_copy(folder) {
        return None;
    }
    let (top, below) = folder::enclosing(folder)?;
    if working_copy::ignores(top, &format!("{below}/")) {
        return None;
    }
    let repository = working_copy::survey(top, ".").ok().flatten()?;
    Some(FolderInRepository {
        is_tracked: repository.files.is_none() || repository.holds(&below),
        top: top.to_owned(),
        below,
    })
}

/// Returns the paths that git does not ignore, if the folder is a working copy. Folders end with a slash.
pub fn not_ignored(root: &Path, paths: Vec<String>) -> Vec<String> {
    if !folder::is_working_copy(root) {
        return Vec::new();
    }
    let is_visible = |path: &String| !working_copy::ignores(root, path);
    paths.into_iter().filter(is_visible).collect()
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

/// Returns a function that lists the names of the files in a folder; empty if there is no such folder.
pub fn file_lister(root: &Path) -> impl Fn(&str) -> Vec<String> + use<> {
    let root: PathBuf = root.to_owned();
    move |folder| {
        let Some(inside) = join_path(".", folder) else {
            return Vec::new();
        };
        let entries = std::fs::read_dir(root.join(inside));
        let files = entries.into_iter().flatten().filter_map(Result::ok);
        let files = files.filter(|entry| entry.path().is_file());
        files
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect()
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
