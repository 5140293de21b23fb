//! The findings as JSON.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::Serialize;
use serde_json::{Value, json};

use super::{DoctorReport, Finding, Section, Severity, StoragePart, Subject};

/// The version of the format. New fields do not change it.
const VERSION: u64 = 1;

/// Checks of the environment that xp needs
///
/// Fields may be added within a version; ignore unknown fields.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(title = "xp doctor --format json")]
struct DoctorDocument {
    /// The version of this format
    version: u64,
    /// Severity of the worst finding
    severity: SeverityDocument,
    /// Number of findings by severity
    counts: SeverityCounts,
    /// The checks, by subject
    subjects: Vec<SubjectDocument>,
}

/// Number of findings by severity
#[derive(Debug, Serialize, JsonSchema)]
struct SeverityCounts {
    ok: usize,
    note: usize,
    warning: usize,
    error: usize,
}

/// Severity of a finding
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum SeverityDocument {
    /// Check passed
    Ok,
    /// For information only
    Note,
    /// Works, but may fail soon or behave unexpectedly
    Warning,
    /// Something that xp needs does not work
    Error,
}

/// Findings on one subject
#[derive(Debug, Serialize, JsonSchema)]
struct SubjectDocument {
    /// The subject
    subject: SubjectKind,
    /// Host of the registry, if the subject is one
    #[serde(skip_serializing_if = "Option::is_none")]
    registry: Option<String>,
    /// Severity of the worst finding
    severity: SeverityDocument,
    /// Short human-readable summary
    summary: String,
    /// The findings
    findings: Vec<FindingDocument>,
}

/// Subject of findings
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum SubjectKind {
    /// x-platform.yml
    Manifest,
    /// xp's own folder, programs and proxies
    Machine,
    /// The container engine
    Engine,
    /// The engines that build images of other platforms
    Engines,
    /// A registry
    Registry,
    /// The git remotes
    GitRemotes,
    /// The builder images
    Builders,
    /// The working copies
    WorkingCopies,
    /// The Kubernetes clusters of the environments
    Clusters,
    /// The compose projects of the environments
    Compose,
    /// The clusters on which units are built
    Fleets,
    /// What signs images
    Signing,
    /// What former services left behind
    Leftovers,
}

/// Result of one check
#[derive(Debug, Serialize, JsonSchema)]
struct FindingDocument {
    /// Severity
    severity: SeverityDocument,
    /// What was found, and where
    what: String,
    /// Causes, the most direct one first
    causes: Vec<String>,
    /// The affected services or repositories
    concerns: Vec<String>,
    /// Possible fixes
    fixes: Vec<String>,
    /// The sizes of what xp keeps on this machine, by part
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    storage: Vec<StorageDocument>,
}

/// A part of what xp keeps on this machine
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct StorageDocument {
    /// `exports`, `caches`, `logs`, `results`, `stores` or `leftovers` in xp's own folder; `images` in the engine
    part: String,
    /// Number of entries or images
    items: usize,
    /// Size in bytes. Layers that images share are counted with each of them
    bytes: u64,
    /// What `xp clean` would remove of it, in bytes; an estimate for images
    removable_bytes: u64,
}

impl DoctorReport {
    /// Returns the findings as JSON that follows [`schema`].
    pub fn document(&self) -> Value {
        let document = DoctorDocument {
            version: VERSION,
            severity: severity(self.severity()),
            counts: SeverityCounts {
                ok: self.count(Severity::Ok),
                note: self.count(Severity::Note),
                warning: self.count(Severity::Warning),
                error: self.count(Severity::Error),
            },
            subjects: self.sections.iter().map(subject).collect(),
        };
        // Serializing strings and numbers cannot fail.
        serde_json::to_value(document).unwrap_or_default()
    }
}

/// Returns the JSON Schema of [`DoctorReport::document`], draft 7.
pub fn schema() -> Value {
    let generator = SchemaSettings::draft07().into_generator();
    json!(generator.into_root_schema_for::<DoctorDocument>())
}

fn subject(section: &Section) -> SubjectDocument {
    let kind = match &section.subject {
        Subject::Manifest => SubjectKind::Manifest,
        Subject::Machine => SubjectKind::Machine,
        Subject::Engine => SubjectKind::Engine,
        Subject::Registry(_) => SubjectKind::Registry,
        Subject::Remotes => SubjectKind::GitRemotes,
        Subject::Builders => SubjectKind::Builders,
        Subject::WorkingCopies => SubjectKind::WorkingCopies,
        Subject::Clusters => SubjectKind::Clusters,
        Subject::Compose => SubjectKind::Compose,
        Subject::Fleets => SubjectKind::Fleets,
        Subject::PlatformEngines => SubjectKind::Engines,
        Subject::Signing => SubjectKind::Signing,
        Subject::Leftovers => SubjectKind::Leftovers,
    };
    let registry = match &section.subject {
        Subject::Registry(host) => Some(host.clone()),
        _ => None,
    };
    SubjectDocument {
        subject: kind,
        registry,
        severity: severity(section.severity()),
        summary: section.summary.clone(),
        findings: section.findings.iter().map(finding).collect(),
    }
}

fn finding(finding: &Finding) -> FindingDocument {
    FindingDocument {
        severity: severity(finding.severity),
        what: finding.what.clone(),
        causes: finding.causes.clone(),
        concerns: finding.concerns.clone(),
        fixes: finding.fixes.clone(),
        storage: finding.storage.iter().map(storage).collect(),
    }
}

fn storage(part: &StoragePart) -> StorageDocument {
    StorageDocument {
        part: part.name.clone(),
        items: part.items,
        bytes: part.bytes,
        removable_bytes: part.removable,
    }
}

fn severity(severity: Severity) -> SeverityDocument {
    match severity {
        Severity::Ok => SeverityDocument::Ok,
        Severity::Note => SeverityDocument::Note,
        Severity::Warning => SeverityDocument::Warning,
        Severity::Error => SeverityDocument::Error,
    }
}
