//! Generates an `x-platform.yml` for `xp init` from the working copies and tool files in a folder.
//!
//! The steps: `sources` detects the files of other tools; `compose`, `skaffold`, `west`, `repo` and
//! `gitmodules` each parse one format into [`Build`]s or [`Projects`]; `combine` merges them with the
//! working copies into a [`ManifestDraft`]; `render` writes it as YAML. Nothing here touches the file system:
//! `crate::flow::discover` scans the folder and supplies the function that reads files.
//!
//! Values that cannot be determined are marked with [`TODO_MARK`]; the text is a valid manifest regardless.

mod build;
mod combine;
mod compose;
mod draft;
mod environment_file;
mod files;
mod folder;
mod gitmodules;
mod ignored;
mod interpolation;
mod names;
mod path;
mod project;
mod render;
mod repo_manifest;
mod secret;
mod services;
mod skaffold;
mod source_repo;
mod sources;
#[cfg(test)]
mod tests;
mod toolchain;
mod west;
mod yaml;

use std::path::Path;

use thiserror::Error;

pub use self::draft::ManifestDraft;
pub use self::folder::{PlatformFolder, Repository};
pub use self::ignored::ignored_paths;
pub use self::render::{RenderedManifest, SCHEMA, TODO_MARK, Todo};
pub use self::sources::{ToolFile, detect, detect_below, detect_format};

pub(crate) use self::path::join as join_path;

use crate::base::error::{Diagnostic, Exit};
use crate::model::image::RegistryPrefix;
use crate::model::manifest;
use crate::model::manifest::error::SourceProblem;
use crate::model::manifest::{ManifestError, UnknownServices};

/// Reads a file by its path relative to the platform's folder; `None` if the file does not exist.
pub type ReadFile<'r> = dyn Fn(&str) -> Result<Option<String>, ManifestError> + 'r;

/// Returns the names of the files in a folder, by its path relative to the platform's folder.
pub type ListFiles<'r> = dyn Fn(&str) -> Vec<String> + 'r;

/// Options of `xp init`.
#[derive(Debug, Default)]
pub struct InitOptions {
    /// The tool files to read.
    pub sources: Vec<ToolFile>,
    /// Whether working copies that no source mentions become services as well.
    pub all_repositories: bool,
    /// If not empty, the folder to take services from, relative to the platform's folder.
    pub below: String,
    /// The registry that images are pushed to.
    pub registry: Option<RegistryPrefix>,
    /// Names and patterns of the services to include; all if empty.
    pub services: Vec<String>,
}

/// Why no manifest was generated.
#[derive(Debug, Error)]
pub enum InitError {
    /// A tool file is invalid; the error shows its lines.
    #[error(transparent)]
    Source(#[from] ManifestError),
    /// Nothing in the folder can become a service.
    #[error("{message}")]
    Nothing {
        /// The message, with a reason for each item that was skipped.
        message: String,
        hints: Vec<String>,
    },
    /// A requested service does not exist.
    #[error(transparent)]
    Unknown(#[from] UnknownServices),
    /// The generated manifest is invalid, such as services that need each other in a cycle.
    #[error("the generated manifest is invalid")]
    Invalid(#[source] ManifestError),
}

impl Diagnostic for InitError {
    fn exit(&self) -> Exit {
        Exit::Usage
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Nothing { hints, .. } => hints.clone(),
            Self::Invalid(_) => vec![
                "select one source with `--from`, or a subset of the services with `--services`"
                    .to_owned(),
            ],
            Self::Unknown(error) => error.hints(),
            Self::Source(_) => Vec::new(),
        }
    }
}

/// Drafts a manifest from the sources and working copies.
///
/// # Errors
///
/// An invalid source, nothing to make a service from, or an unknown service in the options.
pub fn draft(
    folder: &PlatformFolder,
    options: &InitOptions,
    read: &ReadFile<'_>,
    list: &ListFiles<'_>,
) -> Result<ManifestDraft, InitError> {
    combine::combine(folder, options, read, list)
}

/// Renders a draft as YAML and validates the result.
///
/// # Errors
///
/// The result is not a valid manifest, such as services that need each other in a cycle.
pub fn render(draft: &ManifestDraft) -> Result<RenderedManifest, InitError> {
    let rendered = render::render(draft);
    manifest::parse(&rendered.text, Path::new("x-platform.yml"))
        .map(|_| rendered)
        .map_err(InitError::Invalid)
}

/// Returns an error in another tool's file on one line, without quoting the file.
fn one_line(error: &ManifestError) -> String {
    let problems = error.problems().map(|problem| match problem.position() {
        Some((line, _)) => format!("line {line}: {}", problem.message()),
        None => problem.message().to_owned(),
    });
    let problems: Vec<String> = problems.collect();
    problems.join("; ")
}

/// Returns an error about a file as a whole.
fn file_error(file: &str, message: impl Into<String>) -> ManifestError {
    ManifestError::unreadable(file.to_owned(), SourceProblem::without_span(message))
}
