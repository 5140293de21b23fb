//! The labels of images in registries.

use std::collections::{BTreeMap, HashMap};

use futures_util::StreamExt as _;

use super::{AT_ONCE, refusal};
use crate::cache::Facts;
use crate::client::registry::RegistryClient;
use crate::image::{Digest, ImageReference, Labels};
use crate::plan::{Layout, Refusal};

/// Returns the labels of images that are named by their digests, or why they cannot be had.
///
/// Those that were asked for before are taken from xp's own folder.
pub async fn labels(
    client: &RegistryClient,
    layout: &Layout,
    images: Vec<ImageReference>,
) -> HashMap<Digest, Result<Labels, Refusal>> {
    let facts = Facts::new(layout.root());
    let asked = futures_util::stream::iter(images).map(|image| {
        let facts = &facts;
        async move {
            let digest = image.digest()?.clone();
            let path = layout.labels(&digest);
            let kept = facts.read(&path);
            // A file that was damaged is written anew.
            if let Some(labels) = kept.and_then(|text| serde_json::from_str(&text).ok()) {
                return Some((digest, Ok(labels)));
            }
            let labels = client.labels(&image).await;
            // Sorted: any two that write the file write the same.
            if let Ok(labels) = &labels
                && let Ok(text) = serde_json::to_string(&BTreeMap::from_iter(labels))
            {
                facts.write(&path, &text);
            }
            Some((digest, labels.map_err(|error| refusal(&error))))
        }
    });
    let asked = asked.buffer_unordered(AT_ONCE);
    asked.filter_map(std::future::ready).collect().await
}
