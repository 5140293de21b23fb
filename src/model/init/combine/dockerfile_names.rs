//! Names for the services of Dockerfiles that no tool file builds.

use super::super::path;
use crate::model::dockerfile::{self, DockerfileName};

/// Returns candidate names for the service of a Dockerfile, best first.
pub(super) fn names_of(file: &str, repository: &str, is_alone: bool) -> Vec<String> {
    let folder = match path::parent(file) {
        "." => None,
        folder => {
            // Too generic for a name.
            const GENERIC: [&str; 8] = [
                "build",
                "ci",
                "container",
                "deploy",
                "docker",
                ".docker",
                "image",
                "src",
            ];
            let specific = folder.rsplit('/').find(|part| !GENERIC.contains(part));
            specific.map(str::to_owned)
        }
    };
    let variant = match dockerfile::file_name(path::last(file)) {
        Some(DockerfileName::Variant(variant)) => Some(variant.to_owned()),
        _ => None,
    };
    let base = match (folder, is_alone) {
        (_, true) | (None, _) => repository.to_owned(),
        (Some(folder), false) => folder,
    };
    let name = match variant {
        Some(variant) if !is_alone => format!("{base}-{variant}"),
        _ => base.clone(),
    };
    vec![name.clone(), format!("{repository}-{name}")]
}

/// Returns names of a Dockerfile that start with the folders in which it differs from the others of the same name.
pub(super) fn qualified(file: &str, names: &[String], all: &[&String]) -> Vec<String> {
    let parts: Vec<&str> = path::parent(file).split('/').collect();
    let base = names.first().cloned().unwrap_or_default();
    let ends: Vec<String> = (0..parts.len())
        .rev()
        .map(|start| parts[start..].join("/"))
        .collect();
    let is_unique = |end: &&String| {
        let has_end = |other: &&&String| {
            let folder = path::parent(other);
            folder == end.as_str() || folder.ends_with(&format!("/{end}"))
        };
        all.iter().filter(has_end).count() == 1
    };
    let unique = ends.iter().find(is_unique);
    let name = unique.map(|end| {
        let above = path::parent(end);
        if path::last(end) == base {
            end.replace('/', "-")
        } else if path::last(above) == base {
            // The last folder is too generic for a name.
            above.replace('/', "-")
        } else {
            format!("{}-{base}", above.replace('/', "-"))
        }
    });
    let name = name.map(|name| name.trim_start_matches(['.', '-']).to_owned());
    name.into_iter().chain(names.iter().cloned()).collect()
}
