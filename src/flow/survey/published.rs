//! Labels and completeness of images in registries.

use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::StreamExt as _;
use futures_util::future::join_all;

use super::{CONCURRENCY, refusal};
use crate::client::registry::{RegistryClient, RegistryError};
use crate::model::image::{Digest, ImageReference, PublishedImage};
use crate::model::layout::Layout;
use crate::model::plan::Inventory;
use crate::store::cache::FactCache;

/// The minimum number of descriptions to keep.
const MIN_KEPT: usize = 4096;

/// Adds descriptions of images given by digest, or the error for each.
///
/// Earlier results are cached in xp's own folder, because the content of a digest never changes; whether the registry
/// still has the images of an index is asked each time. An index counts as absent if one of them is missing.
pub async fn describe(
    client: &RegistryClient,
    layout: &Layout,
    images: Vec<ImageReference>,
    inventory: &mut Inventory,
) {
    describe_all(client, layout, images, true, inventory).await;
}

/// Like [`describe`], without asking for the images of an index that was described before.
pub(super) async fn describe_only(
    client: &RegistryClient,
    layout: &Layout,
    images: Vec<ImageReference>,
    inventory: &mut Inventory,
) {
    describe_all(client, layout, images, false, inventory).await;
}

async fn describe_all(
    client: &RegistryClient,
    layout: &Layout,
    images: Vec<ImageReference>,
    are_parts_checked: bool,
    inventory: &mut Inventory,
) {
    let facts = FactCache::new(layout.root());
    let kept = MIN_KEPT.max(4 * images.len());
    let has_new = AtomicBool::new(false);
    let requests = futures_util::stream::iter(images).map(|image| {
        let (facts, has_new) = (&facts, &has_new);
        async move {
            let digest = image.digest()?.clone();
            let cached = cached(layout, facts, &digest);
            let described = match cached {
                Some(described) if are_parts_checked => complete(client, &image, described).await,
                Some(described) => Ok(described),
                None => {
                    has_new.store(true, Ordering::Relaxed);
                    describe_now(client, layout, facts, &image, &digest).await
                }
            };
            Some((image, digest, described))
        }
    });
    let mut responses = requests.buffer_unordered(CONCURRENCY);
    while let Some(response) = responses.next().await {
        let Some((image, digest, described)) = response else {
            continue;
        };
        let described = match described {
            Err(RegistryError::Incomplete { .. }) => {
                inventory.mark_incomplete(&image);
                continue;
            }
            described => described.map_err(|error| refusal(&error)),
        };
        inventory.published.insert(digest, described);
    }
    drop(responses);
    if has_new.into_inner() {
        facts.remove_oldest(&layout.descriptions(), kept);
    }
}

/// Returns an earlier result. A damaged file counts as missing, and is replaced.
fn cached(layout: &Layout, facts: &FactCache, digest: &Digest) -> Option<PublishedImage> {
    serde_json::from_str(&facts.read(&layout.labels(digest))?).ok()
}

/// Returns a cached description of an image, unless it is an index and the registry has lost one of its images.
async fn complete(
    client: &RegistryClient,
    index: &ImageReference,
    described: PublishedImage,
) -> Result<PublishedImage, RegistryError> {
    let parts = described.images.iter().map(async |image| {
        let name = index.repository().with_digest(image.digest.clone());
        // Whether it is there, not whether the registry responds.
        let found = client.digest(&name).await;
        (&image.digest, matches!(found, Ok(None)))
    });
    let parts = join_all(parts).await;
    if let Some((part, _)) = parts.iter().find(|(_, is_lost)| *is_lost) {
        return Err(RegistryError::Incomplete {
            image: index.to_string(),
            part: part.to_string(),
        });
    }
    Ok(described)
}

async fn describe_now(
    client: &RegistryClient,
    layout: &Layout,
    facts: &FactCache,
    image: &ImageReference,
    digest: &Digest,
) -> Result<PublishedImage, RegistryError> {
    let described = client.describe(image).await?;
    if let Ok(text) = serde_json::to_string(&described) {
        facts.write(&layout.labels(digest), &text);
    }
    Ok(described)
}
