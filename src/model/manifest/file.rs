//! Reads the manifest's file. Apart from the check for symbolic links, nothing else in this module reads the
//! file system.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::error::{ManifestError, SourceProblem};
use super::{Manifest, PartialManifest, check, parse_partially};

/// A larger file is not a manifest.
const MAX_SIZE: u64 = 10 << 20;

/// Reads and validates a manifest.
///
/// # Errors
///
/// All problems of the manifest at once.
pub fn load(file: &Path) -> Result<Manifest, ManifestError> {
    open(file)?.complete()
}

/// Reads a manifest that may have problems.
///
/// # Errors
///
/// The file cannot be read, or is not YAML.
pub fn open(file: &Path) -> Result<PartialManifest, ManifestError> {
    parse_file(file, &text_of(file)?)
}

/// Returns the valid parts of a manifest, and whether they are all of it: enough to find its past runs.
///
/// # Errors
///
/// The file cannot be read.
pub fn salvage(file: &Path) -> Result<(Manifest, bool), ManifestError> {
    let text = text_of(file)?;
    let partial = parse_file(file, &text).or_else(|_| parse_file(file, "services: {}"))?;
    let is_complete = partial.problems.is_empty();
    Ok((partial.manifest, is_complete))
}

fn text_of(file: &Path) -> Result<String, ManifestError> {
    let missing = "run xp in the folder that contains x-platform.yml or in a subfolder, or pass its path with `-f FILE`";
    read(file, "manifest", missing).map_err(|problem| unreadable(file, problem))
}

fn unreadable(file: &Path, problem: SourceProblem) -> ManifestError {
    ManifestError::unreadable(file.display().to_string(), problem)
}

fn parse_file(file: &Path, text: &str) -> Result<PartialManifest, ManifestError> {
    let mut partial = parse_partially(text, file)?;
    let folder = folder_of(file).map_err(|error| {
        let message = format!("cannot find the manifest's folder: {error}");
        unreadable(file, SourceProblem::without_span(message))
    })?;
    let manifest = &mut partial.manifest;
    manifest.file = file
        .file_name()
        .map_or_else(|| file.to_owned(), |name| folder.join(name));
    manifest.folder = folder;
    let problems = link_problems(manifest);
    partial.problems.extend(problems);
    Ok(partial)
}

/// Reads a text file. Errors call it `what`, and `missing` is the hint if it does not exist.
pub(crate) fn read(file: &Path, what: &str, missing: &str) -> Result<String, SourceProblem> {
    let is_a_folder = || {
        let message = format!("the {what} is a folder");
        SourceProblem::without_span(message).help("pass the path of a file in it")
    };
    let cannot = |error: &io::Error| match error.kind() {
        io::ErrorKind::NotFound => {
            SourceProblem::without_span(format!("{what} not found")).help(missing)
        }
        io::ErrorKind::IsADirectory => is_a_folder(),
        _ => SourceProblem::without_span(format!("cannot read the {what}: {error}")),
    };
    let mut bytes = Vec::new();
    let opened = File::open(file).map_err(|error| cannot(&error))?;
    if opened.metadata().is_ok_and(|metadata| metadata.is_dir()) {
        return Err(is_a_folder());
    }
    // The file's size is not checked, because a pipe has none.
    opened
        .take(MAX_SIZE + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| cannot(&error))?;
    if bytes.len() as u64 > MAX_SIZE {
        let message = format!(
            "the {what} is larger than {} MiB; is this the right file?",
            MAX_SIZE >> 20
        );
        return Err(SourceProblem::without_span(message));
    }
    decode(bytes, what)
}

pub(crate) fn decode(bytes: Vec<u8>, what: &str) -> Result<String, SourceProblem> {
    let utf16 = bytes.starts_with(&[0xFF, 0xFE]) || bytes.starts_with(&[0xFE, 0xFF]);
    String::from_utf8(bytes).map_err(|error| {
        let offset = error.utf8_error().valid_up_to();
        let line = error.as_bytes()[..offset]
            .iter()
            .filter(|byte| **byte == b'\n')
            .count()
            + 1;
        let message = format!("the {what} is not valid UTF-8: line {line}, byte {offset}");
        let help = if utf16 {
            "the file looks like UTF-16; save it as UTF-8"
        } else {
            "save the file as UTF-8"
        };
        SourceProblem::without_span(message).help(help)
    })
}

/// Returns the canonical folder of the manifest, which the engine can mount.
fn folder_of(file: &Path) -> io::Result<PathBuf> {
    match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.canonicalize(),
        _ => Path::new(".").canonicalize(),
    }
}

fn link_problems(manifest: &Manifest) -> Vec<SourceProblem> {
    manifest
        .services
        .values()
        .filter_map(|service| {
            let message = check::symlink_problem(&manifest.folder, &service.dir)?;
            let span = manifest
                .spans
                .get(&service.name)?
                .dir
                .first_line(&manifest.document.text);
            Some(
                SourceProblem::at(span, message)
                    .help("a working copy must be inside the manifest's folder"),
            )
        })
        .collect()
}
