//! Checks of the engines that build images of other platforms.

use super::{CheckFailure, Finding, Section, Severity, Subject, count_of};
use crate::model::image::Platform;

/// An engine that builds the images of a platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlatformEngineFacts {
    pub platform: Platform,
    /// The docker context.
    pub context: String,
    /// Its own platform, if it responds and says so.
    pub own: Result<Option<Platform>, CheckFailure>,
}

/// Evaluates the engines. No finding is an error: only builds for these platforms need them.
pub fn platform_engines(engines: &[PlatformEngineFacts]) -> Section {
    let findings = engines.iter().map(|engine| {
        let PlatformEngineFacts {
            platform, context, ..
        } = engine;
        match &engine.own {
            Ok(Some(own)) if own != platform => Finding {
                fixes: vec![format!(
                    "set the docker context of an engine for {platform}; without instructions to run, this one works, too"
                )],
                ..Finding::warning(format!("the engine of {platform}, `{context}`, is for {own}"))
            },
            Ok(_) => Finding::ok(format!("the engine of {platform}, `{context}`, responds")),
            Err(failure) => {
                let finding = Finding::of(failure);
                Finding {
                    severity: Severity::Warning,
                    what: format!("{platform}: {}", finding.what),
                    ..finding
                }
            }
        }
    });
    Section {
        subject: Subject::PlatformEngines,
        summary: count_of(engines.len(), "engine"),
        findings: findings.collect(),
    }
}
