//! What the registries, the engine and the builder folders have.
//!
//! One HEAD a reference, all at once, and one request to the engine whatever it has. The labels of an
//! image are asked for once: they belong to its digest, and never change.

mod builders;
mod published;
mod rights;
mod working_copies;

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::join_all;

pub use builders::{BuilderError, builder_names, folder_builder};
pub use published::describe;
pub use rights::{NotPushed, push_rights};
pub use working_copies::{Asked, Found, compared, unpushed, working_copies};

use crate::client::registry::{RegistryClient, RegistryError, Way};
use crate::error::{Diagnostic as _, chain};
use crate::image::ImageReference;
use crate::plan::{Draft, Folders, Inventory, Layout, Presence, Refusal};

/// How long an answer without a greeting is waited for; whoever is slower is asked as usual.
const UNGREETED: Duration = Duration::from_secs(2);

/// How many references are asked for at once; each registry limits its own share.
const AT_ONCE: usize = 256;

/// Asks the registries for each reference once.
///
/// A reference about which a registry could not tell is [`Presence::Unknown`], never absent.
pub async fn registries(
    client: &RegistryClient,
    images: Vec<ImageReference>,
) -> BTreeMap<ImageReference, Presence> {
    let asked = futures_util::stream::iter(images).map(|image| async move {
        let presence = match client.digest(&image).await {
            Ok(Some(digest)) => Presence::Present(digest),
            Ok(None) => Presence::Absent,
            Err(error) => Presence::Unknown(refusal(&error)),
        };
        (image, presence)
    });
    asked.buffer_unordered(AT_ONCE).collect().await
}

/// Asks as [`registries`] does, but those registries without a greeting that asked for nothing last time, which
/// spares one way there and back. `open` says how each of these was reached.
pub async fn registries_by_known_ways(
    client: &RegistryClient,
    mut images: Vec<ImageReference>,
    open: &BTreeMap<String, Way>,
) -> BTreeMap<ImageReference, Presence> {
    let mut by_registry: BTreeMap<_, Vec<ImageReference>> = BTreeMap::new();
    for image in &images {
        if let Some(registry) = image.repository().registry()
            && let Some(way) = open.get(registry.as_str())
        {
            let of_it = by_registry.entry((registry, *way)).or_default();
            of_it.push(image.clone());
        }
    }
    let asked = by_registry
        .into_iter()
        .map(|((registry, way), images)| client.digests_of_open(registry, way, images, UNGREETED));
    let mut answers = BTreeMap::new();
    for (image, answer) in join_all(asked).await.into_iter().flatten() {
        let presence = match answer {
            Ok(digest) => Presence::Present(digest),
            Err(error) => Presence::Unknown(refusal(&error)),
        };
        answers.insert(image, presence);
    }
    images.retain(|image| !answers.contains_key(image));
    answers.extend(registries(client, images).await);
    answers
}

/// Completes what registries said of a draft's images: describes them, and looks by their identity tags for those that
/// are not as they should be by the tags of their commits.
pub async fn complete(
    client: &RegistryClient,
    layout: &Layout,
    draft: &Draft<'_>,
    folders: &Folders,
    inventory: &mut Inventory,
) {
    let undescribed = draft.undescribed(inventory);
    describe(client, layout, undescribed, inventory).await;
    let identities = draft.identities(inventory, folders);
    if identities.is_empty() {
        return;
    }
    let found = registries(client, identities.clone()).await;
    inventory.registry.extend(found);
    let undescribed = inventory.undescribed(identities);
    describe(client, layout, undescribed, inventory).await;
}

fn refusal(error: &RegistryError) -> Refusal {
    Refusal {
        why: chain(error).replace("\n  cause: ", ": "),
        hints: error.hints(),
    }
}
