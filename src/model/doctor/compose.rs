//! Checks of the compose projects of the environments.

use super::{CheckFailure, Finding, Section, Severity, Subject, count_of};

/// Facts about `docker compose` and the compose projects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComposeFacts {
    /// The version of `docker compose`.
    pub version: Result<String, CheckFailure>,
    /// The environments of the manifest, and whether their compose files are valid.
    pub environments: Vec<(String, Result<(), CheckFailure>)>,
}

/// Evaluates the compose projects. No finding is an error: builds do not need them.
pub fn compose(facts: &ComposeFacts) -> Section {
    let mut findings = Vec::new();
    let summary = match &facts.version {
        Ok(version) => {
            findings.push(Finding::ok(format!("docker compose is version {version}")));
            for (name, check) in &facts.environments {
                findings.push(match check {
                    Ok(()) => Finding::ok(format!("{name}: the compose files are valid")),
                    Err(failure) => warning_of(failure, &format!("{name}: ")),
                });
            }
            format!(", {version}")
        }
        Err(failure) => {
            findings.push(warning_of(failure, ""));
            String::new()
        }
    };
    let count = count_of(facts.environments.len(), "environment");
    Section {
        subject: Subject::Compose,
        summary: format!("{count}{summary}"),
        findings,
    }
}

/// Converts a failure to a warning.
fn warning_of(failure: &CheckFailure, prefix: &str) -> Finding {
    let finding = Finding::of(failure);
    Finding {
        severity: Severity::Warning,
        what: format!("{prefix}{}", finding.what),
        ..finding
    }
}
