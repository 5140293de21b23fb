//! A manifest from what is there, for `xp init`: what was found to the text of an `x-platform.yml`.
//!
//! The steps: `sources` tells which files of other tools are there; `compose`, `skaffold`, `west`,
//! `repo` and `gitmodules` read one each, as [`Build`]s or [`Projects`]; `combine` makes a [`Draft`] of
//! them and of the working copies in the folder; `render` writes it. The folder is looked at by
//! `crate::discover`, which also hands over a function that reads files: nothing here does.
//!
//! What could not be known is marked in the text by [`MARK`], and the text is a valid manifest all the same.

mod build;
mod combine;
mod compose;
mod dockerfile;
mod draft;
mod files;
mod gitmodules;
mod interpolate;
mod names;
mod path;
mod place;
mod project;
mod render;
mod repo;
mod repository;
mod secret;
mod services;
mod skaffold;
mod sources;
#[cfg(test)]
mod tests;
mod toolchain;
mod west;
mod yaml;

use std::path::Path;

use thiserror::Error;

pub use self::build::Build;
pub use self::draft::Draft;
pub use self::project::Projects;
pub use self::render::{MARK, Marked, Rendered, SCHEMA, listed};
pub use self::repository::{Folder, Repository};
pub use self::sources::{Source, detect, source_of};

pub(crate) use self::dockerfile::is_dockerfile;
pub(crate) use self::path::join as join_path;

use crate::error::{Diagnostic, Exit};
use crate::image::RegistryPrefix;
use crate::manifest::error::Problem;
use crate::manifest::{self, ManifestError, UnknownServices};

/// Reads a file by its path from the platform's folder on; none where there is no such file.
///
/// The error of a file that cannot be read is that of a wrong one.
pub type Read<'r> = dyn Fn(&str) -> Result<Option<String>, ManifestError> + 'r;

/// What is asked for, beside what is there.
#[derive(Debug, Default)]
pub struct Wishes {
    /// What to read.
    pub sources: Vec<Source>,
    /// Whether working copies that no source names become services, too.
    pub all_repositories: bool,
    /// The registry that images are pushed to.
    pub registry: Option<RegistryPrefix>,
    /// The services, by names and patterns; all where none is named.
    pub services: Vec<String>,
}

/// Why there is no manifest.
#[derive(Debug, Error)]
pub enum InitError {
    /// A file of another tool is wrong; its lines are shown.
    #[error(transparent)]
    Source(#[from] ManifestError),
    /// Nothing here can become a service.
    #[error("{message}")]
    Nothing {
        /// What was found instead.
        message: String,
        /// What can be done.
        hints: Vec<String>,
    },
    /// A service was asked for that is not there.
    #[error(transparent)]
    Unknown(#[from] UnknownServices),
    /// What was found contradicts itself.
    #[error("what is here makes no valid manifest")]
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
                "take one source by `--from`, or leave services out by `--services`".to_owned(),
            ],
            Self::Unknown(error) => error.hints(),
            Self::Source(_) => Vec::new(),
        }
    }
}

/// Makes the draft of a manifest of what is there.
///
/// # Errors
///
/// A source that is wrong, nothing to make a service of, and a service that is not there.
pub fn draft(folder: &Folder, wishes: &Wishes, read: &Read<'_>) -> Result<Draft, InitError> {
    combine::combine(folder, wishes, read)
}

/// Writes a draft, and makes sure that xp reads what was written.
///
/// # Errors
///
/// What the draft says contradicts itself, such as services that need each other in a circle.
pub fn render(draft: &Draft) -> Result<Rendered, InitError> {
    let rendered = render::render(draft);
    manifest::parse(&rendered.text, Path::new("x-platform.yml"))
        .map(|_| rendered)
        .map_err(InitError::Invalid)
}

/// Makes the error of a file as a whole.
fn wrong_file(file: &str, message: impl Into<String>) -> ManifestError {
    ManifestError::unreadable(file.to_owned(), Problem::of_the_file(message))
}
