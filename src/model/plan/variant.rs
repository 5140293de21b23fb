//! Image names of services whose dependencies deviate from the manifest.
//!
//! The tag `<sha1>` means: this commit, built with the dependencies that the manifest names. With `--branch` or
//! `--reference`, a needed service may be at another commit. An image built with it is a *variant*: another image of
//! the same commit. If it were tagged `<sha1>` too, a preview would replace the deployed image. It is therefore tagged
//! `<sha1>-<variant>`, and the branch's tag is not moved.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::image::{ImageReference, Tag};
use crate::model::manifest::{Manifest, ServiceName};
use crate::model::source::{ReferenceOrigin, ServiceSource};

/// The name of a service's image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceImage {
    /// The image, tagged with its commit and, if it is a variant, the variant.
    pub image: ImageReference,
    /// What distinguishes it from the commit's usual image: the train's branch, or the references of needed services;
    /// `None` for the usual one.
    pub variant: Option<String>,
    /// Whether its own working copy, or that of a service it needs, is built in place.
    pub is_local: bool,
}

/// Returns the image names of all services with a known source.
pub fn service_images<'m>(
    manifest: &'m Manifest,
    sources: &BTreeMap<ServiceName, ServiceSource>,
) -> BTreeMap<&'m ServiceName, ServiceImage> {
    // For each service, its direct and indirect dependencies that deviate from the manifest.
    let mut deviations: BTreeMap<&ServiceName, BTreeSet<String>> = BTreeMap::new();
    let mut images: BTreeMap<&ServiceName, ServiceImage> = BTreeMap::new();
    for name in manifest.order() {
        let Some(service) = manifest.services.get(name) else {
            continue;
        };
        let mut of_needs = BTreeSet::new();
        for need in &service.needs {
            of_needs.extend(deviations.get(need).into_iter().flatten().cloned());
            of_needs.extend(sources.get(need).and_then(|source| deviation(need, source)));
        }
        if let Some(source) = sources.get(name) {
            let parts: Vec<&str> = of_needs.iter().map(String::as_str).collect();
            // The tag of a changed working copy contains its own digest, so it cannot replace another image.
            let is_variant = !parts.is_empty() && source.changes().is_none();
            let variant = is_variant.then(|| parts.join("+"));
            let tag = Tag::from_source(source);
            let tag = match &variant {
                Some(variant) => tag.with_variant(variant),
                None => tag,
            };
            let is_local = |need| images.get(need).is_some_and(|image| image.is_local);
            let is_local = source.local.is_some() || service.needs.iter().any(is_local);
            let image = service.docker.image.tagged(tag);
            let named = ServiceImage {
                image,
                variant,
                is_local,
            };
            images.insert(name, named);
        }
        deviations.insert(name, of_needs);
    }
    images
}

/// Returns the variant part for a needed service that is not at the manifest's commit.
///
/// A working copy without changes counts as its commit; any changes give the same part.
///
/// For a train the part is the branch alone, so that dependents of any of its services get the same variant. For
/// `--reference` it includes the service's name.
fn deviation(name: &ServiceName, source: &ServiceSource) -> Option<String> {
    if source.local.is_some() {
        return source.changes().map(|_| "local-changes".to_owned());
    }
    if !source.deviates() {
        return None;
    }
    let reference = source
        .short_name()
        .map_or_else(|| source.tip.commit.to_string(), str::to_owned);
    Some(match source.origin {
        ReferenceOrigin::Branch => reference,
        _ => format!("{name}={reference}"),
    })
}
