//! Evaluates the facts gathered by `crate::flow::diagnose` for `xp doctor`: turns them into findings with causes
//! and fixes. Pure: no I/O.

mod builders;
mod clusters;
mod compose;
mod document;
mod engine;
pub mod failure;
mod fleets;
mod leftovers;
mod machine;
mod manifest;
mod platform_engines;
mod registry;
mod remotes;
mod signing;
mod storage;
#[cfg(test)]
mod tests;
mod text;
mod working_copies;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::base::error::Exit;
use crate::base::plural::{abbreviated, count_of, join_with_and};

pub use crate::model::doctor::failure::CheckFailure;
pub use builders::{BuilderFacts, BuilderLocation, builders};
pub use clusters::{ClusterFacts, EnvironmentCheck, EnvironmentFacts, KubectlLocation, clusters};
pub use compose::{ComposeFacts, compose};
pub use document::schema;
pub use engine::{EngineConnectionFacts, OwnContainerFacts, Socket, engine};
pub use fleets::{FleetAccess, FleetCheck, FleetFacts, FleetsFacts, PodFacts, fleets};
pub use leftovers::{LeftoverFacts, leftovers};
pub use machine::{CacheState, DiskSpace, MachineFacts, RequiredProgram, machine};
pub use manifest::{ManifestFacts, ManifestProblem, manifest};
pub use platform_engines::{PlatformEngineFacts, platform_engines};
pub use registry::{CredentialOrigin, PushAccess, RegistryFacts, RepositoryFacts, registry};
pub use remotes::{AgentFacts, RemoteFacts, remotes};
pub use signing::{SigningFacts, signing};
pub use storage::{CacheContents, EngineImageFacts, StoragePart};
pub use text::DetailLevel;
pub use working_copies::{WorkingCopyFacts, working_copies};

/// All findings, by subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DoctorReport {
    /// The sections, in dependency order.
    pub sections: Vec<Section>,
}

/// The findings on one subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    pub subject: Subject,
    /// A short summary, such as the engine's version.
    pub summary: String,
    /// The findings, in the order of the checks.
    pub findings: Vec<Finding>,
}

/// Subject of findings.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// x-platform.yml.
    Manifest,
    /// xp's own folder, programs and proxies.
    Machine,
    /// The container engine.
    Engine,
    /// The engines that build images of other platforms.
    PlatformEngines,
    /// A registry, by its host.
    Registry(String),
    /// The git remotes.
    Remotes,
    /// The builder images.
    Builders,
    WorkingCopies,
    /// The Kubernetes clusters of the environments.
    Clusters,
    /// The compose projects of the environments.
    Compose,
    /// The clusters on which units are built.
    Fleets,
    /// What signs images.
    Signing,
    /// What former services left behind.
    Leftovers,
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registry(host) => write!(f, "registry {host}"),
            subject => f.write_str(subject.kind()),
        }
    }
}

impl Subject {
    /// Returns the label, without the registry host.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Manifest => "manifest",
            Self::Machine => "machine",
            Self::Engine => "engine",
            Self::PlatformEngines => "engines",
            Self::Registry(_) => "registry",
            Self::Remotes => "git remotes",
            Self::Builders => "builders",
            Self::WorkingCopies => "working copies",
            Self::Clusters => "clusters",
            Self::Compose => "compose",
            Self::Fleets => "fleets",
            Self::Signing => "signing",
            Self::Leftovers => "leftovers",
        }
    }
}

/// Severity of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Check passed.
    Ok,
    /// For information only.
    Note,
    /// Works, but may fail soon or behave unexpectedly.
    Warning,
    /// Something that xp needs does not work.
    Error,
}

impl Severity {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// Result of one check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    pub severity: Severity,
    /// What was found, and where.
    pub what: String,
    /// Causes, the most direct one first.
    pub causes: Vec<String>,
    /// The affected services or repositories; empty if it affects all.
    pub concerns: Vec<String>,
    /// Possible fixes.
    pub fixes: Vec<String>,
    /// Whether an error is in the manifest or the command line rather than outside.
    pub is_usage: bool,
    /// The sizes of what xp keeps.
    pub storage: Vec<StoragePart>,
}

impl Finding {
    fn new(severity: Severity, what: impl Into<String>) -> Self {
        Self {
            severity,
            what: what.into(),
            causes: Vec::new(),
            concerns: Vec::new(),
            fixes: Vec::new(),
            is_usage: false,
            storage: Vec::new(),
        }
    }

    fn ok(what: impl Into<String>) -> Self {
        Self::new(Severity::Ok, what)
    }

    fn note(what: impl Into<String>) -> Self {
        Self::new(Severity::Note, what)
    }

    fn warning(what: impl Into<String>) -> Self {
        Self::new(Severity::Warning, what)
    }

    fn error(what: impl Into<String>) -> Self {
        Self::new(Severity::Error, what)
    }

    /// Converts a failed check to an error.
    pub fn of(failure: &CheckFailure) -> Self {
        Self {
            causes: failure.causes.clone(),
            fixes: failure.fixes.clone(),
            is_usage: failure.exit == Exit::Usage,
            ..Self::error(failure.what.clone())
        }
    }

    fn because(mut self, cause: impl Into<String>) -> Self {
        self.causes.push(cause.into());
        self
    }

    fn concerning(mut self, concerns: &[String]) -> Self {
        self.concerns = concerns.to_vec();
        self
    }

    fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fixes.push(fix.into());
        self
    }
}

impl Section {
    /// Returns the severity of the worst finding.
    pub fn severity(&self) -> Severity {
        let severities = self.findings.iter().map(|finding| finding.severity);
        severities.max().unwrap_or(Severity::Ok)
    }
}

impl DoctorReport {
    /// Returns the severity of the worst finding.
    pub fn severity(&self) -> Severity {
        let severities = self.sections.iter().map(Section::severity);
        severities.max().unwrap_or(Severity::Ok)
    }

    /// Returns the number of findings of a severity.
    pub fn count(&self, severity: Severity) -> usize {
        let findings = self.findings();
        findings
            .filter(|finding| finding.severity == severity)
            .count()
    }

    /// Returns the exit code. An invalid manifest takes precedence over external failures: it must be fixed
    /// first.
    pub fn exit(&self) -> Exit {
        let mut errors = self.findings();
        let is_usage = |finding: &Finding| finding.is_usage && finding.severity == Severity::Error;
        match self.severity() {
            Severity::Error if errors.any(is_usage) => Exit::Usage,
            Severity::Error => Exit::Outside,
            Severity::Ok | Severity::Note | Severity::Warning => Exit::Done,
        }
    }

    fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.sections.iter().flat_map(|section| &section.findings)
    }
}

/// Returns the first few names and the number of others.
fn few(names: &[String]) -> String {
    const SHOWN: usize = 3;
    if names.len() <= SHOWN {
        join_with_and(names)
    } else {
        abbreviated(names, SHOWN)
    }
}

/// Joins the non-empty parts with commas.
fn list(parts: impl IntoIterator<Item = String>) -> String {
    let parts = parts.into_iter().filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join(", ")
}
