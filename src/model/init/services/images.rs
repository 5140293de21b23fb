//! Image names and their common registry.

use std::collections::BTreeSet;

use super::super::compose::known_image;
use super::super::draft::{DraftKey, DraftRegistry};
use super::super::interpolation::UNSET;
use super::super::names::{distinct, image_name};
use super::super::{InitOptions, path};
use super::CandidateService;
use crate::model::image::ImageRepository;

/// Names the images, and returns the registry found in the sources.
pub(super) fn name(drafts: &mut [CandidateService], options: &InitOptions) -> DraftRegistry {
    let named: Vec<Option<ImageRepository>> = drafts
        .iter()
        .map(|draft| {
            let image = draft.candidate.build.as_ref()?.image.as_deref()?;
            known_image(image)?.parse().ok()
        })
        .collect();
    let prefixes: BTreeSet<(String, String)> = named
        .iter()
        .flatten()
        .filter_map(|image| {
            let folder = path::parent(image.path()).to_owned();
            Some((image.registry()?.to_string(), folder))
        })
        .collect();
    let hosts: BTreeSet<&String> = prefixes.iter().map(|(host, _)| host).collect();
    let common = match (hosts.first(), hosts.len()) {
        (Some(host), 1) => {
            let mut folders = prefixes.iter().map(|(_, folder)| folder.clone());
            let first = folders.next().unwrap_or_default();
            let folder = folders.fold(first, |one, other| path::common(&one, &other));
            Some(((*host).clone(), folder))
        }
        _ => None,
    };
    let mut taken = BTreeSet::new();
    for (draft, named) in drafts.iter_mut().zip(&named) {
        let CandidateService {
            service, candidate, ..
        } = draft;
        let source = candidate
            .build
            .as_ref()
            .and_then(|build| build.image.as_deref());
        let own = match (named, &common) {
            (None, _) => service.name.clone(),
            (Some(image), Some((_, folder))) if image.registry().is_some() => {
                path::below(image.path(), folder).unwrap_or_else(|| image.path().to_owned())
            }
            (Some(image), _) => image.path().to_owned(),
        };
        let candidates: Vec<String> = [&own, &service.name]
            .into_iter()
            .filter_map(|name| image_name(name))
            .collect();
        service.image = distinct(&candidates, &mut taken);
        if let Some(source) = source {
            let written = source.replace(UNSET, "…");
            let file = candidate
                .build
                .as_ref()
                .map_or("", |build| build.file.as_str());
            let is_elsewhere = common.is_none()
                && named
                    .as_ref()
                    .is_some_and(|image| image.registry().is_some());
            if is_elsewhere {
                service.todo(
                    DraftKey::Image,
                    format!("{written} in {file}: the services use several registries"),
                );
            } else if service.image != own {
                service.remark(DraftKey::Image, format!("{written} in {file}"));
            }
        } else if service.image != own {
            service.remark(
                DraftKey::Image,
                format!("{own} is not a valid image name, or already used"),
            );
        }
    }
    match (&options.registry, common) {
        (Some(given), _) => DraftRegistry::Given(given.clone()),
        (None, Some((host, folder))) => DraftRegistry::Suggested(match folder.as_str() {
            "." => host,
            folder => format!("{host}/{folder}"),
        }),
        (None, None) => DraftRegistry::Unknown,
    }
}
