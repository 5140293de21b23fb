//! Errors of archives.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::base::error::{Diagnostic, Exit};

/// The outputs of a phase cannot be saved or restored.
#[derive(Debug, Error)]
pub enum ArchiveError {
    /// A file cannot be read or written.
    #[error("cannot {action} {}", path.display())]
    File {
        /// What failed, such as `read`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// An output is not a path below the folder.
    #[error("invalid output `{0}`: expected a relative path without `..` and outside of `.git`")]
    InvalidOutput(String),
    /// An output does not exist.
    #[error("the phase did not create its output `{0}`")]
    MissingOutput(String),
    /// A file of another kind.
    #[error("the output {} is {kind}, which cannot be saved", path.display())]
    Special {
        /// The path below the folder.
        path: PathBuf,
        /// What it is, with an article.
        kind: &'static str,
    },
    /// A link that may lead out of the folder.
    #[error("the link {} leads to {}, outside of the source folder", path.display(), target.display())]
    LinkOutside {
        /// The path below the folder.
        path: PathBuf,
        /// Its target.
        target: PathBuf,
    },
    /// The archive is not one that xp has written, or is incomplete.
    #[error("the archive is damaged: {0}")]
    Damaged(String),
    /// Something that is not a folder is where one is needed.
    #[error("{} is not a folder, so the outputs cannot be restored", .0.display())]
    Conflict(PathBuf),
}

impl ArchiveError {
    /// Returns a function that adds the file to an error of the system.
    pub(super) fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File {
            action,
            path,
            source,
        }
    }

    pub(super) fn damaged(what: impl Into<String>) -> Self {
        Self::Damaged(what.into())
    }
}

impl Diagnostic for ArchiveError {
    fn exit(&self) -> Exit {
        match self {
            Self::InvalidOutput(_) => Exit::Usage,
            _ => Exit::Outside,
        }
    }

    fn hints(&self) -> Vec<String> {
        let hint = match self {
            Self::MissingOutput(output) => {
                format!("remove `{output}` from `outputs`, or correct its path")
            }
            Self::LinkOutside { .. } => {
                "links in outputs must be relative and stay inside the source folder".to_owned()
            }
            Self::Special { .. } => {
                "list only the files in `outputs` that later phases need".to_owned()
            }
            _ => return Vec::new(),
        };
        vec![hint]
    }
}
