//! Sidecars: containers that run beside the scripts of a service.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::name::{ServiceName, SidecarName};
use super::service::{BuilderImage, Service};
use super::template::Template;

/// How long a container may take until it is ready, by default.
pub const DEFAULT_READY_TIMEOUT: Duration = Duration::from_secs(60);

/// A container that runs beside the scripts of some phases.
#[derive(Debug, Clone)]
pub struct Sidecar {
    pub image: SidecarImage,
    /// The phases whose scripts reach it.
    pub phases: BTreeSet<ScriptPhase>,
    pub settings: SidecarSettings,
}

impl Sidecar {
    /// Returns whether the sidecar only matters to tests, so that `--no-test` does without it.
    pub fn is_for_tests(&self) -> bool {
        self.phases.iter().all(|phase| phase.is_test())
    }
}

/// How a container beside the scripts is started, and when it is ready.
#[derive(Debug, Clone)]
pub struct SidecarSettings {
    /// Variables in addition to those of its image.
    pub env: BTreeMap<String, Template>,
    /// The arguments of its entrypoint; `None` for those of its image.
    pub command: Option<Vec<String>>,
    /// The command that succeeds in the container once it is ready; `None` for the HEALTHCHECK of its image.
    pub ready: Option<ProbeCommand>,
    /// How long it may take until it is ready.
    pub timeout: Duration,
}

impl Default for SidecarSettings {
    fn default() -> Self {
        Self {
            env: BTreeMap::new(),
            command: None,
            ready: None,
            timeout: DEFAULT_READY_TIMEOUT,
        }
    }
}

/// The image of a sidecar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SidecarImage {
    /// Built from a folder in `builders.dir`, or pulled.
    Image(BuilderImage),
    /// That of another service, which is built first.
    Service {
        service: ServiceName,
        /// The placeholder for it.
        template: Template,
    },
}

/// A command that shows whether a container is ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeCommand {
    /// A line for the shell of the container.
    Shell(String),
    /// A program and its arguments.
    Program(Vec<String>),
}

impl ProbeCommand {
    /// Returns the program to execute, with its arguments.
    pub fn to_arguments(&self) -> Vec<String> {
        match self {
            Self::Shell(line) => ["/bin/sh", "-c", line].map(str::to_owned).to_vec(),
            Self::Program(arguments) => arguments.clone(),
        }
    }
}

/// A phase of a service's scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ScriptPhase {
    Prepare,
    Build,
    Test,
    Verify,
}

impl ScriptPhase {
    /// All phases, in the order in which they run.
    pub const ALL: [Self; 4] = [Self::Prepare, Self::Build, Self::Test, Self::Verify];

    /// Returns the key in `scripts`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Prepare => "prepare",
            Self::Build => "build",
            Self::Test => "test",
            Self::Verify => "verify",
        }
    }

    /// Returns whether `--no-test` skips the phase.
    pub const fn is_test(self) -> bool {
        matches!(self, Self::Test | Self::Verify)
    }
}

impl Service {
    /// Returns the sidecars that scripts reach.
    pub fn used_sidecars(&self) -> impl Iterator<Item = (&SidecarName, &Sidecar)> {
        let has_scripts = |phase: &ScriptPhase| self.scripts.has(*phase);
        self.sidecars
            .iter()
            .filter(move |(_, sidecar)| sidecar.phases.iter().any(has_scripts))
    }

    /// Returns the templates of the sidecars that scripts reach.
    pub fn sidecar_templates(&self) -> impl Iterator<Item = &Template> {
        self.used_sidecars().flat_map(|(_, sidecar)| {
            let image = match &sidecar.image {
                SidecarImage::Service { template, .. } => Some(template),
                SidecarImage::Image(_) => None,
            };
            image.into_iter().chain(sidecar.settings.env.values())
        })
    }

    /// Returns the images of sidecars that are not services, by the name of the sidecar.
    pub fn sidecar_images(&self) -> impl Iterator<Item = (&SidecarName, &BuilderImage)> {
        self.used_sidecars()
            .filter_map(|(name, sidecar)| match &sidecar.image {
                SidecarImage::Image(image) => Some((name, image)),
                SidecarImage::Service { .. } => None,
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_is_a_shell_line_or_a_program() {
        let shell = ProbeCommand::Shell("pg_isready && true".to_owned());
        assert_eq!(
            shell.to_arguments(),
            ["/bin/sh", "-c", "pg_isready && true"]
        );
        let program = ProbeCommand::Program(vec!["/probe".to_owned(), "a b".to_owned()]);
        assert_eq!(program.to_arguments(), ["/probe", "a b"]);
    }
}
