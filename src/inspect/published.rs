//! Images of registries, as their configurations describe them.

use std::collections::HashMap;

use futures_util::StreamExt as _;

use super::{AT_ONCE, refusal};
use crate::cache::Facts;
use crate::client::registry::RegistryClient;
use crate::image::{Digest, ImageReference, PublishedImage};
use crate::plan::{Layout, Refusal};

/// Describes images that are named by their digests, or says why that cannot be done.
///
/// Those that were asked for before are taken from xp's own folder.
pub async fn published(
    client: &RegistryClient,
    layout: &Layout,
    images: Vec<ImageReference>,
) -> HashMap<Digest, Result<PublishedImage, Refusal>> {
    let facts = Facts::new(layout.root());
    let asked = futures_util::stream::iter(images).map(|image| {
        let facts = &facts;
        async move {
            let digest = image.digest()?.clone();
            let path = layout.labels(&digest);
            let kept = facts.read(&path);
            // A file that was damaged is written anew.
            if let Some(image) = kept.and_then(|text| serde_json::from_str(&text).ok()) {
                return Some((digest, Ok(image)));
            }
            let image = client.describe(&image).await;
            if let Ok(image) = &image
                && let Ok(text) = serde_json::to_string(image)
            {
                facts.write(&path, &text);
            }
            Some((digest, image.map_err(|error| refusal(&error))))
        }
    });
    let asked = asked.buffer_unordered(AT_ONCE);
    asked.filter_map(std::future::ready).collect().await
}
