//! Reads the folders of builders. Those that cannot be used are problems of the manifest, with their positions.

use std::collections::BTreeSet;

use super::survey;
use crate::base::error::{Diagnostic as _, chain};
use crate::model::manifest::error::SourceProblem;
use crate::model::manifest::{BuilderImage, BuilderName, Manifest};
use crate::model::plan::Folders;

/// Reads these folders, and returns a problem for each use of one that cannot be read.
pub fn read(manifest: &Manifest, names: &BTreeSet<BuilderName>) -> (Folders, Vec<SourceProblem>) {
    let (mut folders, mut problems) = (Folders::new(), Vec::new());
    for name in names {
        let error = match survey::folder_builder(manifest, name) {
            Ok(folder) => {
                folders.extend([folder]);
                continue;
            }
            Err(error) => error,
        };
        let message = chain(&error).replace("\n  cause: ", ": ");
        let image = BuilderImage::Folder(name.clone());
        let services = manifest.services.values();
        let users = services.filter(|service| service.images().contains(&&image));
        if let Some(span) = manifest.span_of_sbom(&image) {
            let problem = SourceProblem::at(span, message.clone());
            problems.push(error.hints().into_iter().fold(problem, SourceProblem::help));
        }
        problems.extend(users.map(|service| {
            let problem = match manifest.span_of_image(service, &image) {
                Some(span) => SourceProblem::at(span, message.clone()),
                None => SourceProblem::without_span(message.clone()),
            };
            error.hints().into_iter().fold(problem, SourceProblem::help)
        }));
    }
    (folders, problems)
}
