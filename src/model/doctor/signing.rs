//! Checks of what signs images.

use super::{CheckFailure, Finding, Section, Severity, Subject};

/// Facts about `cosign` and the keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigningFacts {
    /// Whether a usable version of `cosign` is installed.
    pub cosign: Result<(), CheckFailure>,
    /// The private key, and whether it can be used; not checked without `cosign`.
    pub key: Option<(String, Result<(), CheckFailure>)>,
}

/// Evaluates what signs images. No finding is an error: only CI may have the private key.
pub fn signing(facts: &SigningFacts) -> Section {
    let mut findings = vec![match &facts.cosign {
        Ok(()) => Finding::ok("cosign is installed"),
        Err(failure) => warning_of(failure),
    }];
    findings.extend(facts.key.as_ref().map(|(key, check)| match check {
        Ok(()) => Finding::ok(format!("the key {key} can be used")),
        Err(failure) => warning_of(failure),
    }));
    Section {
        subject: Subject::Signing,
        summary: String::new(),
        findings,
    }
}

/// Converts a failure to a warning.
fn warning_of(failure: &CheckFailure) -> Finding {
    Finding {
        severity: Severity::Warning,
        ..Finding::of(failure)
    }
}
