//! Inputs and outputs of the phases whose commands are known.
//!
//! A phase sees only its inputs, and a missing output is an error, so nothing is proposed in case of doubt. Cargo, Gradle
//! and Python are missing because their build scripts and macros may read any file, and uv's `.venv` links to the
//! interpreter outside of the source.

mod committed_folder;
mod go;
mod install_scripts;
mod maven;
mod node_package;
mod npm;
mod npmrc;
mod pnpm;
mod yarn;

use self::committed_folder::CommittedFolder;
use super::super::draft::{DraftScripts, PhaseFiles};
use super::super::folder::Repository;
use super::super::path;
use super::{GO_BUILD, MAVEN_BUILD, NPM_CI, PNPM_INSTALL, YARN_INSTALL, workspace_of};

/// Proposes the inputs and outputs of phases for a service in a folder of a repository.
///
/// `missing` are the files and folders that the Dockerfile copies and the scripts must create; `file` reads a file of
/// the repository.
pub(in super::super) fn propose(
    scripts: &mut DraftScripts,
    repository: &Repository,
    folder: &str,
    missing: &[String],
    file: &dyn Fn(&str) -> Option<String>,
) {
    let Some(committed) = CommittedFolder::new(repository, folder, file) else {
        return;
    };
    // The workspace's files are outside of the folder.
    if workspace_of(folder, file).is_some() {
        return;
    }
    scripts.prepare_files = match single(&scripts.prepare) {
        NPM_CI => npm::install(&committed),
        YARN_INSTALL => yarn::install(&committed),
        PNPM_INSTALL => pnpm::install(&committed),
        _ => None,
    };
    let creates_missing = |files: &PhaseFiles| {
        let is_output = |copied: &String| {
            let copied = path::below(copied, folder);
            copied.is_some_and(|copied| {
                let mut outputs = files.outputs.iter();
                outputs.any(|output| path::below(&copied, output).is_some())
            })
        };
        missing.iter().all(is_output)
    };
    scripts.build_files = match single(&scripts.build) {
        GO_BUILD => go::build(&committed),
        MAVEN_BUILD => maven::package(&committed),
        _ => None,
    }
    .filter(creates_missing);
}

/// Returns the only line of a phase; empty if there are several.
fn single(lines: &[String]) -> &str {
    match lines {
        [line] => line,
        _ => "",
    }
}

#[cfg(test)]
mod tests;
