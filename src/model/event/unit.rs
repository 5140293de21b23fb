//! Units of work, and the phases of the work on one.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::image::ImageReference;
use crate::model::manifest::{BuilderName, ScriptPhase, ServiceName};

/// A unit of work: a service, a builder image or a Kubernetes workload.
#[derive(
    Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(into = "String", from = "String")]
#[schemars(inline)]
pub enum Unit {
    /// A builder image that is built from a folder of the platform.
    Builder(BuilderName),
    /// A builder image that is pulled.
    External(ImageReference),
    /// A service.
    Service(ServiceName),
    /// A Kubernetes workload, such as `deployment/zbackend`; in a record that was read, any other unit.
    Workload(String),
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Builder(name) => write!(f, "builders/{name}"),
            Self::External(image) => image.fmt(f),
            Self::Service(name) => name.fmt(f),
            Self::Workload(name) => name.fmt(f),
        }
    }
}

impl From<Unit> for String {
    fn from(unit: Unit) -> Self {
        unit.to_string()
    }
}

impl From<String> for Unit {
    fn from(name: String) -> Self {
        let builder = name.strip_prefix("builders/").map(str::parse);
        match (builder, name.parse()) {
            (Some(Ok(builder)), _) => Self::Builder(builder),
            (_, Ok(service)) => Self::Service(service),
            _ => Self::Workload(name),
        }
    }
}

/// A phase of the work on one unit; each has its own log.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(into = "String", from = "String")]
#[schemars(inline)]
pub enum Phase {
    /// The working copy is cloned, fetched or fast-forwarded.
    Sync,
    /// The commit is checked out into its export.
    Export,
    /// A plugin writes the commit's files to the export.
    Fetch,
    /// The builder container is started.
    Container,
    /// The containers beside the scripts are started.
    Sidecars,
    /// `scripts.prepare`
    Prepare,
    /// `scripts.build`
    Build,
    /// `scripts.test`
    Test,
    /// `docker build`
    Image,
    /// `scripts.verify`
    Verify,
    /// The image is pulled from the registry.
    Pull,
    /// The image is pushed to the registry.
    Push,
    /// Provenance is attached to the pushed image, and it is signed.
    Attest,
    /// Tags are set on an existing image.
    Tag,
    /// The Job of a fleet that runs the following steps is started.
    Job,
    /// A workload is rolled out.
    Rollout,
    /// A phase of a newer version of xp, in a record that was read.
    Unknown,
}

impl Phase {
    const KNOWN: [Self; 16] = [
        Self::Sync,
        Self::Export,
        Self::Fetch,
        Self::Container,
        Self::Sidecars,
        Self::Prepare,
        Self::Build,
        Self::Test,
        Self::Image,
        Self::Verify,
        Self::Pull,
        Self::Push,
        Self::Attest,
        Self::Tag,
        Self::Job,
        Self::Rollout,
    ];

    /// Returns whether the steps of the phase take one of the jobs, unlike those that wait for a network.
    pub const fn takes_job(self) -> bool {
        !matches!(
            self,
            Self::Sync | Self::Pull | Self::Push | Self::Attest | Self::Tag
        )
    }

    /// Returns the phase of the scripts, if it is one.
    pub const fn of_scripts(self) -> Option<ScriptPhase> {
        match self {
            Self::Prepare => Some(ScriptPhase::Prepare),
            Self::Build => Some(ScriptPhase::Build),
            Self::Test => Some(ScriptPhase::Test),
            Self::Verify => Some(ScriptPhase::Verify),
            _ => None,
        }
    }

    /// Returns the phase's name, as in the log's file name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sync => "sync",
            Self::Export => "export",
            Self::Fetch => "fetch",
            Self::Container => "container",
            Self::Sidecars => "sidecars",
            Self::Prepare => "prepare",
            Self::Build => "build",
            Self::Test => "test",
            Self::Image => "image",
            Self::Verify => "verify",
            Self::Pull => "pull",
            Self::Push => "push",
            Self::Attest => "attest",
            Self::Tag => "tag",
            Self::Job => "job",
            Self::Rollout => "rollout",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<ScriptPhase> for Phase {
    fn from(phase: ScriptPhase) -> Self {
        match phase {
            ScriptPhase::Prepare => Self::Prepare,
            ScriptPhase::Build => Self::Build,
            ScriptPhase::Test => Self::Test,
            ScriptPhase::Verify => Self::Verify,
        }
    }
}

impl From<Phase> for String {
    fn from(phase: Phase) -> Self {
        phase.to_string()
    }
}

impl From<String> for Phase {
    fn from(name: String) -> Self {
        let mut known = Self::KNOWN.into_iter();
        known
            .find(|phase| phase.as_str() == name)
            .unwrap_or(Self::Unknown)
    }
}
