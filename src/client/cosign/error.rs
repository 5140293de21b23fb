//! Errors of `cosign`.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

use super::process::ProgramOutput;
use crate::base::error::{Diagnostic, Exit};
use crate::base::units;

/// `cosign` failed.
#[derive(Debug, Error)]
pub enum CosignError {
    /// It is not installed.
    #[error("`cosign` is not on PATH, and `supply.sign` needs it")]
    NotInstalled,
    /// The installed version is too old.
    #[error("{} is too old: version 2.2 or later is required", program.display())]
    TooOld { program: PathBuf },
    /// The program cannot be run.
    #[error("failed to run {}", program.display())]
    NotRun { program: PathBuf, source: io::Error },
    /// It did not end.
    #[error("{} did not end within {}", program.display(), units::limit(*.limit))]
    Hangs { program: PathBuf, limit: Duration },
    /// A key cannot be used.
    #[error("cannot use the key {key}: {why}")]
    Key {
        /// A path or URI.
        key: String,
        why: String,
    },
}

impl CosignError {
    pub(super) fn key(key: &str, output: &ProgramOutput) -> Self {
        Self::Key {
            key: key.to_owned(),
            why: output.errors().join("; "),
        }
    }
}

impl Diagnostic for CosignError {
    fn exit(&self) -> Exit {
        match self {
            Self::Key { .. } => Exit::Usage,
            _ => Exit::Outside,
        }
    }

    fn hints(&self) -> Vec<String> {
        let hint = match self {
            Self::NotInstalled | Self::TooOld { .. } => {
                "install version 2.2 or later, for example the package `cosign` of Debian 13"
            }
            Self::Key { why, .. } if why.contains("decrypt") || why.contains("password") => {
                "set COSIGN_PASSWORD to the password of the private key"
            }
            Self::Key { why, .. } if why.contains("no such file") => {
                "paths in `supply.sign` are relative to the manifest; `cosign generate-key-pair` creates a pair of keys"
            }
            Self::Key { .. } => "check `supply.sign` in the manifest",
            Self::Hangs { .. } => "the server of the key may be hanging",
            Self::NotRun { .. } => return Vec::new(),
        };
        vec![hint.to_owned()]
    }
}
