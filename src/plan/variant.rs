//! What the image of a service is called when what it needs is not what the manifest says.
//!
//! The tag `<sha1>` means: this commit, made with what the manifest names for everything that it needs.
//! With `--branch` or `--reference` a needed service may be another commit. An image that is made with
//! it is another image of the same commit, a *variant*: were it called `<sha1>` too, a preview would
//! take the place of the image that is deployed. So it is called `<sha1>-<variant>`, and its branch's
//! tag stays where it is.

use std::collections::{BTreeMap, BTreeSet};

use crate::image::{ImageReference, Tag};
use crate::manifest::{Manifest, ServiceName};
use crate::source::{Origin, ServiceSource};

/// How the image of a service is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceImage {
    /// Its name by the commit, and by the variant where it is one.
    pub image: ImageReference,
    /// What tells it from the commit's usual image: the train's branch, or the references of the needed
    /// services; none for the usual one.
    pub variant: Option<String>,
}

/// Returns how the images of all services are called whose source is known.
pub fn service_images<'m>(
    manifest: &'m Manifest,
    sources: &BTreeMap<ServiceName, ServiceSource>,
) -> BTreeMap<&'m ServiceName, ServiceImage> {
    // What each service needs, directly or not, that is not as the manifest says.
    let mut deviations: BTreeMap<&ServiceName, BTreeSet<String>> = BTreeMap::new();
    let mut images = BTreeMap::new();
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
            let variant = (!parts.is_empty()).then(|| parts.join("+"));
            let commit = Tag::from_commit(source.commit);
            let tag = match &variant {
                Some(variant) => commit.with_variant(variant),
                None => commit,
            };
            let image = service.docker.image.tagged(tag);
            images.insert(name, ServiceImage { image, variant });
        }
        deviations.insert(name, of_needs);
    }
    images
}

/// Returns what is said of a needed service that is not at the manifest's commit.
///
/// All services of a train share its branch's name, so that their dependents are called alike. What
/// `--reference` names concerns one service, and is told with it.
fn deviation(name: &ServiceName, source: &ServiceSource) -> Option<String> {
    if !source.deviates() {
        return None;
    }
    let reference = source
        .short_name()
        .map_or_else(|| source.tip.commit.to_string(), str::to_owned);
    Some(match source.origin {
        Origin::Branch => reference,
        _ => format!("{name}={reference}"),
    })
}
