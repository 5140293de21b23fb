//! The client of compose projects, which runs `docker compose`.
//!
//! It runs on this machine with the caller's environment, in the folder of the manifest: variables, `.env` files,
//! profiles and relative paths of compose files mean the same as for a user who runs `docker compose` there.

mod error;
mod process;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tokio_util::sync::CancellationToken;

pub use error::ComposeError;
pub use process::{ComposeLine, LineHandler};

use process::{ProgramOutput, run};

/// The oldest supported version: it can reset a key of an earlier file.
const OLDEST: (u32, u32) = (2, 24);

/// `docker compose`, or `docker-compose`.
#[derive(Debug, Clone)]
pub struct ComposeProgram {
    program: PathBuf,
    /// The first arguments: `compose` for `docker`.
    prefix: Vec<&'static str>,
    /// Such as `2.26.1`.
    pub version: String,
}

/// The engine that compose uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ComposeEngine {
    /// The one with this address.
    Address(String),
    /// The one of this docker context.
    Context(String),
}

/// A compose project.
pub struct Compose<'c> {
    pub program: &'c ComposeProgram,
    pub engine: ComposeEngine,
    /// The folder that the files are relative to.
    pub folder: &'c Path,
    pub files: &'c [PathBuf],
    pub project: Option<&'c str>,
    pub profiles: &'c [String],
    /// Receives the lines of its standard error: progress and warnings.
    pub on_line: LineHandler<'c>,
}

impl ComposeProgram {
    /// Finds a usable version. `docker` and `standalone` are the paths of `docker` and `docker-compose`.
    ///
    /// # Errors
    ///
    /// Compose is not installed or too old.
    pub async fn find(
        docker: Option<PathBuf>,
        standalone: Option<PathBuf>,
        folder: &Path,
    ) -> Result<Self, ComposeError> {
        let mut old = None;
        let candidates = [(docker, vec!["compose"]), (standalone, Vec::new())];
        for (program, prefix) in candidates {
            let Some(program) = program else { continue };
            let mut arguments: Vec<OsString> = prefix.iter().map(OsString::from).collect();
            arguments.extend(["version", "--short"].map(OsString::from));
            let found = run(&program, &arguments, &[], folder, &|_| {}, None).await?;
            let version = found.text();
            let version = version.trim().trim_start_matches('v').to_owned();
            if !found.is_success() || version.is_empty() {
                continue;
            }
            if parsed(&version).is_some_and(|version| version < OLDEST) {
                old.get_or_insert((program, version));
                continue;
            }
            return Ok(Self {
                program,
                prefix,
                version,
            });
        }
        Err(match old {
            Some((program, version)) => ComposeError::TooOld {
                program,
                version,
                oldest: format!("{}.{}", OLDEST.0, OLDEST.1),
            },
            None => ComposeError::NotInstalled,
        })
    }
}

impl Compose<'_> {
    /// Returns the effective configuration: files merged, variables replaced, paths resolved.
    ///
    /// # Errors
    ///
    /// The files are missing or invalid.
    pub async fn config(&self) -> Result<Value, ComposeError> {
        let found = self
            .checked("read", &["config", "--format", "json"], &[])
            .await?;
        serde_json::from_str(&found.text()).map_err(|error| ComposeError::Failed {
            action: format!("read {}", self.shown()),
            lines: vec![format!("unexpected output of `config`: {error}")],
        })
    }

    /// Returns the effective configuration as YAML, with this override.
    ///
    /// # Errors
    ///
    /// The files are invalid.
    pub async fn render(&self, override_file: &Path) -> Result<String, ComposeError> {
        let found = self
            .checked("read", &["config"], &[override_file.to_owned()])
            .await?;
        Ok(found.text())
    }

    /// Returns the services of all profiles.
    ///
    /// # Errors
    ///
    /// The files are invalid.
    pub async fn all_services(&self) -> Result<Vec<String>, ComposeError> {
        let arguments = ["--profile", "*", "config", "--services"];
        let found = self.checked("read", &arguments, &[]).await?;
        Ok(found.text().lines().map(str::to_owned).collect())
    }

    /// Returns the lines of progress that creating and recreating containers would print. Pulls nothing, and changes
    /// nothing.
    ///
    /// The hashes that `config --hash` prints are not those of containers in all cases, such as with `env_file`.
    ///
    /// # Errors
    ///
    /// Compose rejects the files, or the engine does not respond.
    pub async fn preview(&self, override_file: &Path) -> Result<Vec<String>, ComposeError> {
        let arguments = [
            "--progress",
            "plain",
            "--dry-run",
            "create",
            "--no-build",
            "--pull",
            "never",
        ];
        let files = [override_file.to_owned()];
        let finished = self.run(&arguments, &files, None).await?;
        if finished.is_success() {
            return Ok(finished.lines());
        }
        Err(ComposeError::Failed {
            action: format!("compare {} with its containers", self.shown()),
            lines: finished.errors(),
        })
    }

    /// Creates, recreates and starts containers, and waits until they are ready. Never builds. If cancelled, compose is
    /// asked to stop.
    ///
    /// # Errors
    ///
    /// Compose failed: an image cannot be pulled, a port is taken, or a container ended or is unhealthy.
    pub async fn up(
        &self,
        override_file: &Path,
        timeout: Duration,
        cancel: &CancellationToken,
    ) -> Result<(), ComposeError> {
        let seconds = timeout.as_secs().max(1).to_string();
        let arguments = [
            "--progress",
            "plain",
            "up",
            "--detach",
            "--no-build",
            "--wait",
            "--wait-timeout",
            &seconds,
        ];
        let files = [override_file.to_owned()];
        let finished = self.run(&arguments, &files, Some(cancel)).await?;
        match finished.is_success() {
            true => Ok(()),
            false => Err(ComposeError::Failed {
                action: format!("start the containers of {}", self.shown()),
                lines: finished.errors(),
            }),
        }
    }

    /// Returns a command line for the user, which needs no override.
    pub fn command_line(&self, arguments: &[&str]) -> Vec<String> {
        let name = self.program.program.file_name().unwrap_or_default();
        let mut words = vec![name.to_string_lossy().into_owned()];
        words.extend(self.program.prefix.iter().map(|word| (*word).to_owned()));
        for file in self.files {
            words.extend(["--file".to_owned(), file.display().to_string()]);
        }
        if let Some(project) = self.project {
            words.extend(["--project-name".to_owned(), project.to_owned()]);
        }
        words.extend(arguments.iter().map(|word| (*word).to_owned()));
        words
    }

    fn shown(&self) -> String {
        let files: Vec<String> = self
            .files
            .iter()
            .map(|it| it.display().to_string())
            .collect();
        files.join(", ")
    }

    async fn checked(
        &self,
        action: &str,
        arguments: &[&str],
        files: &[PathBuf],
    ) -> Result<ProgramOutput, ComposeError> {
        let finished = self.run(arguments, files, None).await?;
        if finished.is_success() {
            return Ok(finished);
        }
        Err(ComposeError::Invalid {
            action: format!("{action} {}", self.shown()),
            lines: finished.errors(),
        })
    }

    async fn run(
        &self,
        arguments: &[&str],
        files: &[PathBuf],
        cancel: Option<&CancellationToken>,
    ) -> Result<ProgramOutput, ComposeError> {
        let mut words: Vec<OsString> = self.program.prefix.iter().map(OsString::from).collect();
        for file in self.files.iter().chain(files) {
            words.extend([OsString::from("--file"), file.into()]);
        }
        if let Some(project) = self.project {
            words.extend(["--project-name", project].map(OsString::from));
        }
        for profile in self.profiles {
            words.extend(["--profile", profile.as_str()].map(OsString::from));
        }
        words.extend(arguments.iter().map(OsString::from));
        let variables = match &self.engine {
            ComposeEngine::Address(address) => ("DOCKER_HOST", address.as_str()),
            ComposeEngine::Context(name) => ("DOCKER_CONTEXT", name.as_str()),
        };
        run(
            &self.program.program,
            &words,
            &[variables],
            self.folder,
            self.on_line,
            cancel,
        )
        .await
    }
}

/// Returns the first two numbers of a version.
fn parsed(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared() {
        assert_eq!(parsed("2.26.1-4"), Some((2, 26)));
        assert_eq!(parsed("2.40.3+ds1-0ubuntu1"), Some((2, 40)));
        assert!(parsed("1.29.2").unwrap() < OLDEST);
        assert_eq!(parsed("dev"), None);
    }
}
