//! Renders errors with the affected lines of the manifest.

use std::path::Path;

use super::session::Session;
use crate::base::error::{Exit, Failure};
use crate::host::settings::Settings;
use crate::model::manifest::ManifestError;
use crate::model::plan::PlanError;
use crate::report::{CiAnnotation, Level};

/// Renders a manifest error.
pub fn manifest_failure(session: &Session, error: &ManifestError) -> Failure {
    shown_with_lines(&session.settings, error)
}

/// Renders a manifest error, with CI annotations for each problem.
pub fn shown_with_lines(settings: &Settings, error: &ManifestError) -> Failure {
    let text = error.render(settings.report.color);
    Failure::rendered(Exit::Usage, with_annotations(settings, error, text))
}

/// Renders all problems of all errors, with CI annotations.
pub fn shown_in_full(settings: &Settings, errors: &[ManifestError]) -> Failure {
    let texts = errors.iter().map(|error| {
        let text = error.render_all(settings.report.color);
        with_annotations(settings, error, text)
    });
    let texts: Vec<String> = texts.collect();
    Failure::rendered(Exit::Usage, texts.join("\n\n"))
}

fn with_annotations(settings: &Settings, error: &ManifestError, text: String) -> String {
    let report = &settings.report;
    let file = settings.directory.join(Path::new(error.path()));
    let file = report.relative_to_workspace(&file);
    let annotations = error.problems().map(|problem| {
        let help = problem.help().iter().map(String::as_str);
        let message: Vec<&str> = [problem.message()].into_iter().chain(help).collect();
        report.ci.problem(&CiAnnotation {
            level: Level::Error,
            file: Some(&file),
            line: problem.position().map(|(line, _)| line),
            title: "xp",
            message: &message.join("\n"),
        })
    });
    let annotations: String = annotations.collect();
    match annotations.trim_end() {
        "" => text,
        annotations => format!("{}\n{annotations}", text.trim_end()),
    }
}

/// Renders a planning error; manifest errors are shown with their lines.
pub fn plan_failure(session: &Session, error: PlanError) -> Failure {
    match error {
        PlanError::Manifest(error) => manifest_failure(session, &error),
        PlanError::Unknown(error) => error.into(),
        PlanError::Recipe(error) => error.into(),
        PlanError::Unshared(error) => error.into(),
    }
}
