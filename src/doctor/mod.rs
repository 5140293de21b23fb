//! What the facts about a platform's surroundings mean: what is well, what is not, and what to do
//! about it. Pure: the facts are data, gathered by `crate::examine`.

mod builders;
mod clusters;
mod document;
mod engine;
mod machine;
mod manifest;
mod registry;
mod remotes;
#[cfg(test)]
mod tests;
mod text;
mod trouble;
mod working_copies;

use std::fmt;

use crate::error::Exit;
use crate::words::many;

pub use builders::{BuilderFacts, BuilderWhere, builders};
pub use clusters::{ClusterFacts, EnvironmentAnswer, EnvironmentFacts, KubectlWhere, clusters};
pub use document::schema;
pub use engine::{EngineAnswer, EngineFacts, OwnContainer, Socket, engine};
pub use machine::{CacheState, MachineFacts, Program, ProxyFacts, Space, machine};
pub use manifest::{ManifestFacts, ManifestProblem, manifest};
pub use registry::{CredentialOrigin, PushAnswer, RegistryFacts, RepositoryFacts, registry};
pub use remotes::{AgentFacts, RemoteFacts, remotes};
pub use text::{Detail, Paint};
pub use trouble::Trouble;
pub use working_copies::{WorkingCopyFacts, working_copies};

/// Everything that was found, by subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkup {
    /// The subjects, in the order in which they depend on each other.
    pub sections: Vec<Section>,
}

/// What was found about one subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// What it is about.
    pub subject: Subject,
    /// The subject in few words, such as the engine's version.
    pub summary: String,
    /// What was found, in the order in which it was looked at.
    pub findings: Vec<Finding>,
}

/// What findings are about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// x-platform.yml.
    Manifest,
    /// xp's own folder, programs and proxies.
    Machine,
    /// The container engine.
    Engine,
    /// A registry, by its host.
    Registry(String),
    /// The git remotes.
    Remotes,
    /// The images that scripts run in.
    Builders,
    /// The working copies.
    WorkingCopies,
    /// The clusters that are deployed to.
    Clusters,
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
    /// Returns which kind of subject it is.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Manifest => "manifest",
            Self::Machine => "machine",
            Self::Engine => "engine",
            Self::Registry(_) => "registry",
            Self::Remotes => "git remotes",
            Self::Builders => "builders",
            Self::WorkingCopies => "working copies",
            Self::Clusters => "clusters",
        }
    }
}

/// How bad something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It is as it should be.
    Ok,
    /// It is worth knowing, and hinders nothing.
    Note,
    /// It works, and may not for long, or not as expected.
    Warning,
    /// Something that xp needs does not work.
    Error,
}

impl Severity {
    /// Returns the word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What was found, and where.
    pub what: String,
    /// Why it is so, the nearest cause first.
    pub causes: Vec<String>,
    /// Which services, or repositories, it concerns; empty where it concerns all.
    pub concerns: Vec<String>,
    /// What a person can do about it, a sentence each.
    pub fixes: Vec<String>,
    /// Whether the manifest, or how xp was called, is to blame for an error, and nothing outside.
    pub is_usage: bool,
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

    /// Makes an error of what kept something from being found out.
    fn of(trouble: &Trouble) -> Self {
        Self {
            causes: trouble.causes.clone(),
            fixes: trouble.fixes.clone(),
            is_usage: trouble.exit == Exit::Usage,
            ..Self::error(trouble.what.clone())
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
    /// Returns how bad the worst of it is.
    pub fn severity(&self) -> Severity {
        let severities = self.findings.iter().map(|finding| finding.severity);
        severities.max().unwrap_or(Severity::Ok)
    }
}

impl Checkup {
    /// Returns how bad the worst of it is.
    pub fn severity(&self) -> Severity {
        let severities = self.sections.iter().map(Section::severity);
        severities.max().unwrap_or(Severity::Ok)
    }

    /// Returns how many findings are that bad.
    pub fn count(&self, severity: Severity) -> usize {
        let findings = self.findings();
        findings
            .filter(|finding| finding.severity == severity)
            .count()
    }

    /// Returns the exit code: a wrong manifest counts more than what is outside, as nothing can be done
    /// before it is right.
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

/// Returns the first few of a list, and how many more there are.
fn few(names: &[String]) -> String {
    const SHOWN: usize = 3;
    match names {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] if names.len() <= SHOWN => format!("{} and {last}", first.join(", ")),
        _ => format!(
            "{} and {} more",
            names[..SHOWN].join(", "),
            names.len() - SHOWN
        ),
    }
}

/// Returns the parts that say something, separated by commas.
fn list(parts: impl IntoIterator<Item = String>) -> String {
    let parts = parts.into_iter().filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join(", ")
}
