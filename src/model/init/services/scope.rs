//! Which commits rebuild an image.

use std::collections::BTreeSet;

use super::super::draft::{DraftKey, DraftService};
use super::super::folder::Repository;
use super::super::path;
use super::super::source_repo::SourceRepo;
use super::ImageCandidate;
use crate::model::dockerfile::{self, DockerfileInputs};

/// Narrows a service that is built from the whole repository to the files that its Dockerfile copies, if they are
/// known; otherwise remarks that every commit rebuilds it.
pub(super) fn narrow(
    service: &mut DraftService,
    candidate: &ImageCandidate,
    repo: &SourceRepo<'_>,
    inputs: &DockerfileInputs,
) {
    let file_folder = path::parent(&candidate.file);
    if service.path.is_some() || file_folder == "." || candidate.context != "." {
        return;
    }
    let Some(local) = repo.local else { return };
    if let Some((folder, mut include)) = inputs_of(local, candidate, inputs) {
        include.extend(
            local
                .holds_file(".dockerignore")
                .then(|| ".dockerignore".to_owned()),
        );
        let file = path::below(&candidate.file, &folder);
        if file.is_none() {
            include.push(candidate.file.clone());
        }
        let file = file.unwrap_or_else(|| format!("/{}", candidate.file));
        service.file = (file != "Dockerfile").then_some(file);
        service.context = Some("/".to_owned());
        service.path = Some(folder);
        service.include = include;
        return;
    }
    let is_other = |file: &&String| {
        path::below(file, file_folder).is_some() && !dockerfile::is_dockerfile(file)
    };
    if local.files.iter().flatten().any(|file| is_other(&file)) {
        service.remark(
            DraftKey::Reference,
            format!(
                "its image is built from the whole repository, so every commit rebuilds it; `path: {file_folder}`, \
                 `include` for its other inputs, and `context: /` below `docker` rebuild it less often"
            ),
        );
    }
}

/// Returns the service's folder and the other files and folders that its Dockerfile copies; `None` unless all of them
/// are known and in the commit.
fn inputs_of(
    local: &Repository,
    candidate: &ImageCandidate,
    inputs: &DockerfileInputs,
) -> Option<(String, Vec<String>)> {
    let copied = inputs
        .copied
        .iter()
        .map(|copied| {
            path::join(".", copied).filter(|path| path != "." && local.has_file_or_folder(path))
        })
        .collect::<Option<BTreeSet<String>>>()?;
    if inputs.has_patterns || copied.is_empty() {
        return None;
    }
    let file_folder = path::parent(&candidate.file);
    let own = copied.iter().find(|copied| {
        path::below(copied, file_folder).is_some() || path::below(file_folder, copied).is_some()
    });
    let folder = match own {
        Some(_) => file_folder,
        // The Dockerfile is elsewhere: the folder with its name or, if there is only one, that folder.
        None => {
            let is_folder = |copied: &&String| !local.holds_file(copied);
            let folders: Vec<&String> = copied.iter().filter(is_folder).collect();
            let is_named = |folder: &&String| {
                let mut names = candidate.names.iter();
                names.any(|name| {
                    name.split(['-', '/'])
                        .any(|part| part == path::last(folder))
                })
            };
            let named: Vec<&String> = folders.iter().copied().filter(is_named).collect();
            match (named.as_slice(), folders.as_slice()) {
                (&[one], _) | (&[], &[one]) => one.as_str(),
                _ => return None,
            }
        }
    };
    let mut include: Vec<String> = Vec::new();
    for other in copied
        .iter()
        .filter(|copied| path::below(copied, folder).is_none())
    {
        if path::below(folder, other).is_some() {
            // A folder around the service's own one.
            return None;
        }
        // Sorted, so a folder comes before what is in it.
        if include
            .iter()
            .all(|known| path::below(other, known).is_none())
        {
            include.push(other.clone());
        }
    }
    Some((folder.to_owned(), include))
}
