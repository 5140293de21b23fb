//! What images of registries are, as their configurations describe them, and whether they are complete.

use futures_util::StreamExt as _;

use super::{AT_ONCE, refusal};
use crate::cache::Facts;
use crate::client::registry::{RegistryClient, RegistryError};
use crate::image::{Digest, ImageReference, PublishedImage};
use crate::plan::{Inventory, Layout};

/// Describes images that are named by their digests, or adds why that cannot be done.
///
/// What was found out before is taken from xp's own folder: a digest always names the same. An image of several
/// platforms of which the registry lacks one is absent by all its names.
pub async fn describe(
    client: &RegistryClient,
    layout: &Layout,
    images: Vec<ImageReference>,
    inventory: &mut Inventory,
) {
    let facts = Facts::new(layout.root());
    let asked = futures_util::stream::iter(images).map(|image| {
        let facts = &facts;
        async move {
            let digest = image.digest()?.clone();
            let described = described(client, layout, facts, &image, &digest).await;
            Some((image, digest, described))
        }
    });
    let mut answers = asked.buffer_unordered(AT_ONCE);
    while let Some(answer) = answers.next().await {
        let Some((image, digest, described)) = answer else {
            continue;
        };
        let described = match described {
            Err(RegistryError::Incomplete { .. }) => {
                inventory.lacks_part_of(&image);
                continue;
            }
            described => described.map_err(|error| refusal(&error)),
        };
        inventory.published.insert(digest, described);
    }
}

async fn described(
    client: &RegistryClient,
    layout: &Layout,
    facts: &Facts,
    image: &ImageReference,
    digest: &Digest,
) -> Result<PublishedImage, RegistryError> {
    let path = layout.labels(digest);
    let kept = facts.read(&path);
    // A file that was damaged is written anew.
    if let Some(described) = kept.and_then(|text| serde_json::from_str(&text).ok()) {
        return Ok(described);
    }
    let described = client.describe(image).await?;
    if let Ok(text) = serde_json::to_string(&described) {
        facts.write(&path, &text);
    }
    Ok(described)
}
