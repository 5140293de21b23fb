//! Errors that are shown with the lines of the manifest.

use super::session::Session;
use crate::error::{Exit, Failure};
use crate::manifest::ManifestError;
use crate::plan::PlanError;

/// Shows a manifest's error in the colours that were asked for.
pub fn manifest_failure(session: &Session, error: &ManifestError) -> Failure {
    Failure::rendered(Exit::Usage, error.render(session.settings.report.color))
}

/// Shows an error of planning, a manifest's with its lines.
pub fn plan_failure(session: &Session, error: PlanError) -> Failure {
    match error {
        PlanError::Manifest(error) => manifest_failure(session, &error),
        PlanError::Unknown(error) => error.into(),
        PlanError::Recipe(error) => error.into(),
    }
}
