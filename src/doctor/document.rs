//! The findings as JSON, for other programs.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::Serialize;
use serde_json::{Value, json};

use super::{Checkup, Finding, Section, Severity, Subject};

/// The version of the format. It grows by further fields without a new one.
const VERSION: u64 = 1;

/// What xp finds of its surroundings
///
/// Fields may be added in the same version; a reader passes over those that it does not know.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(title = "xp doctor --format json")]
struct Document {
    /// The version of this format
    version: u64,
    /// How bad the worst finding is
    severity: SeverityDocument,
    /// How many findings are how bad
    counts: Counts,
    /// The subjects
    subjects: Vec<SubjectDocument>,
}

/// How many findings are how bad
#[derive(Debug, Serialize, JsonSchema)]
struct Counts {
    ok: usize,
    note: usize,
    warning: usize,
    error: usize,
}

/// How bad something is
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum SeverityDocument {
    /// It is as it should be
    Ok,
    /// It is worth knowing, and hinders nothing
    Note,
    /// It works, and may not for long, or not as expected
    Warning,
    /// Something that xp needs does not work
    Error,
}

/// What was found about one subject
#[derive(Debug, Serialize, JsonSchema)]
struct SubjectDocument {
    /// What it is about
    subject: SubjectKind,
    /// Which registry
    #[serde(skip_serializing_if = "Option::is_none")]
    registry: Option<String>,
    /// How bad the worst of it is
    severity: SeverityDocument,
    /// The subject in few words, for people
    summary: String,
    /// What was found
    findings: Vec<FindingDocument>,
}

/// What findings are about
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum SubjectKind {
    /// x-platform.yml
    Manifest,
    /// xp's own folder, programs and proxies
    Machine,
    /// The container engine
    Engine,
    /// A registry
    Registry,
    /// The git remotes
    GitRemotes,
    /// The images that scripts run in
    Builders,
    /// The working copies
    WorkingCopies,
    /// The clusters that are deployed to
    Clusters,
}

/// One thing that was looked at
#[derive(Debug, Serialize, JsonSchema)]
struct FindingDocument {
    /// How bad it is
    severity: SeverityDocument,
    /// What was found, and where
    what: String,
    /// Why it is so, the nearest cause first
    causes: Vec<String>,
    /// The services or repositories that it concerns
    concerns: Vec<String>,
    /// What a person can do about it
    fixes: Vec<String>,
}

impl Checkup {
    /// Returns the findings as a document that follows [`schema`].
    pub fn document(&self) -> Value {
        let document = Document {
            version: VERSION,
            severity: severity(self.severity()),
            counts: Counts {
                ok: self.count(Severity::Ok),
                note: self.count(Severity::Note),
                warning: self.count(Severity::Warning),
                error: self.count(Severity::Error),
            },
            subjects: self.sections.iter().map(subject).collect(),
        };
        // A structure of texts and numbers is always a document.
        serde_json::to_value(document).unwrap_or_default()
    }
}

/// Returns the JSON Schema of [`Checkup::document`], draft 7.
pub fn schema() -> Value {
    let generator = SchemaSettings::draft07().into_generator();
    json!(generator.into_root_schema_for::<Document>())
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
