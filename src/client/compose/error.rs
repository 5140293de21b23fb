//! Errors of `docker compose`.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::base::error::{Diagnostic, Exit};

const INSTALL: &str = "install version 2.24 or later: the package `docker-compose` of Debian 13, \
                       `docker-compose-v2` of Ubuntu, or `docker-compose-plugin` of Docker";

/// `docker compose` failed.
#[derive(Debug, Error)]
pub enum ComposeError {
    /// Neither `docker compose` nor `docker-compose` is installed.
    #[error(
        "`docker compose` not found: neither as a plugin of `docker` nor as `docker-compose` on PATH"
    )]
    NotInstalled,
    /// The installed version is too old.
    #[error(
        "{} is version {version} of docker compose, which is too old: {oldest} or later is required",
        program.display()
    )]
    TooOld {
        program: PathBuf,
        version: String,
        oldest: String,
    },
    /// The program cannot be run.
    #[error("failed to run {}", program.display())]
    NotRun { program: PathBuf, source: io::Error },
    /// It rejected the compose files.
    #[error("cannot {action}{}", below(lines))]
    Invalid {
        /// The action, such as `read docker-compose.yml`.
        action: String,
        lines: Vec<String>,
    },
    /// It failed.
    #[error("cannot {action}{}", below(lines))]
    Failed { action: String, lines: Vec<String> },
}

/// Returns the lines below a message; a single line follows it directly.
fn below(lines: &[String]) -> String {
    match lines {
        [line] => format!(": {line}"),
        lines => lines.iter().map(|line| format!("\n  {line}")).collect(),
    }
}

impl Diagnostic for ComposeError {
    fn exit(&self) -> Exit {
        match self {
            Self::Invalid { .. } => Exit::Usage,
            Self::Failed { .. } => Exit::ServiceFailed,
            Self::NotInstalled | Self::TooOld { .. } | Self::NotRun { .. } => Exit::Outside,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::NotInstalled => vec![
                INSTALL.to_owned(),
                "the image of the wrapper script does not include it: there, run `xp` itself"
                    .to_owned(),
            ],
            Self::TooOld { .. } => vec![INSTALL.to_owned()],
            Self::NotRun { .. } | Self::Invalid { .. } | Self::Failed { .. } => Vec::new(),
        }
    }
}
