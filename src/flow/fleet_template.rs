//! Reads the pod template of a fleet.

use std::fs;

use crate::base::error::Diagnostic as _;
use crate::model::fleet::PodTemplate;
use crate::model::manifest::error::SourceProblem;
use crate::model::manifest::{Fleet, Manifest};

/// Reads the pod template of a fleet; without one, the pod has only the worker's container.
///
/// # Errors
///
/// The problem, with its position in the manifest.
pub fn read(manifest: &Manifest, fleet: &Fleet) -> Result<PodTemplate, SourceProblem> {
    let Some(file) = &fleet.template else {
        return Ok(PodTemplate::default());
    };
    let problem = |message: String, help: String| {
        let span = manifest.span_at(&["fleet", fleet.name.as_str(), "template"]);
        let message = format!("fleet `{}`: {message}", fleet.name);
        let problem = match span {
            Some(span) => SourceProblem::at(span, message),
            None => SourceProblem::without_span(message),
        };
        problem.help(help)
    };
    let shown = file.display().to_string();
    let text = fs::read_to_string(manifest.folder.join(file)).map_err(|error| {
        problem(
            format!("cannot read the pod template {shown}: {error}"),
            "create the file, or correct its path; docs/fleet.md has an example".to_owned(),
        )
    })?;
    PodTemplate::parse(&text, &shown).map_err(|error| {
        let help = error.hints().into_iter().next().unwrap_or_default();
        problem(error.to_string(), help)
    })
}
