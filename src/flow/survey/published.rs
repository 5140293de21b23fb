//! Labels and completeness of images in registries.

use futures_util::StreamExt as _;

use super::{CONCURRENCY, refusal};
use crate::client::registry::{RegistryClient, RegistryError};
use crate::model::image::{Digest, ImageReference, PublishedImage};
use crate::model::layout::Layout;
use crate::model::plan::Inventory;
use crate::store::cache::FactCache;

/// Adds descriptions of images given by digest, or the error for each.
///
/// Earlier results are cached in xp's own folder, because the content of a digest never changes. A multi-platform
/// image counts as absent if the registry does not have every platform.
pub async fn describe(
    client: &RegistryClient,
    layout: &Layout,
    images: Vec<ImageReference>,
    inventory: &mut Inventory,
) {
    let facts = FactCache::new(layout.root());
    let requests = futures_util::stream::iter(images).map(|image| {
        let facts = &facts;
        async move {
            let digest = image.digest()?.clone();
            let described = describe_cached(client, layout, facts, &image, &digest).await;
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
}

async fn describe_cached(
    client: &RegistryClient,
    layout: &Layout,
    facts: &FactCache,
    image: &ImageReference,
    digest: &Digest,
) -> Result<PublishedImage, RegistryError> {
    let path = layout.labels(digest);
    let cached = facts.read(&path);
    // A damaged file is replaced.
    if let Some(described) = cached.and_then(|text| serde_json::from_str(&text).ok()) {
        return Ok(described);
    }
    let described = client.describe(image).await?;
    if let Ok(text) = serde_json::to_string(&described) {
        facts.write(&path, &text);
    }
    Ok(described)
}
