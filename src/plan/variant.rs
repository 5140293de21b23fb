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
    /// Whether a working copy takes part: its own is built in place, or that of a service it needs.
    pub is_local: bool,
}

/// Returns how the images of all services are called whose source is known.
pub fn service_images<'m>(
    manifest: &'m Manifest,
    sources: &BTreeMap<ServiceName, ServiceSource>,
) -> BTreeMap<&'m ServiceName, ServiceImage> {
    // What each service needs, directly or not, that is not as the manifest says.
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
            // A working copy with changes is called by its own content: it takes no other image's place.
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

/// Returns what is said of a needed service that is not at the manifest's commit.
///
/// A working copy without changes is its commit; one with changes is told by what needs it, whatever
/// the changes are.
///
/// All services of a train share its branch's name, so that their dependents are called alike. What
/// `--reference` names concerns one service, and is told with it.
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
        Origin::Branch => reference,
        _ => format!("{name}={reference}"),
    })
}
