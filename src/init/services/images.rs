//! The names of images, and the registry that they point to.

use std::collections::BTreeSet;

use super::super::compose::known_image;
use super::super::draft::{Key, Registry};
use super::super::interpolate::UNSET;
use super::super::names::{distinct, image_name};
use super::super::{Wishes, path};
use super::Made;
use crate::image::ImageRepository;

/// Names the images, and tells which registry the sources name.
pub(super) fn name(made: &mut [Made], wishes: &Wishes) -> Registry {
    let named: Vec<Option<ImageRepository>> = made
        .iter()
        .map(|made| {
            let image = made.candidate.build.as_ref()?.image.as_deref()?;
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
    for (made, named) in made.iter_mut().zip(&named) {
        let Made {
            service, candidate, ..
        } = made;
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
                    Key::Image,
                    format!("{file} calls it {written}: the services have several registries"),
                );
            } else if service.image != own {
                service.remark(Key::Image, format!("{file} calls it {written}"));
            }
        } else if service.image != own {
            service.remark(
                Key::Image,
                format!("{own} is no legal name of an image, or there already"),
            );
        }
    }
    match (&wishes.registry, common) {
        (Some(given), _) => Registry::Given(given.clone()),
        (None, Some((host, folder))) => Registry::Suggested(match folder.as_str() {
            "." => host,
            folder => format!("{host}/{folder}"),
        }),
        (None, None) => Registry::Unknown,
    }
}
