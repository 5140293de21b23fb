//! Takes inventory of registries and builder folders.
//!
//! One concurrent HEAD per reference. The labels of an image are requested once: they belong to its digest and
//! never change.

mod builders;
pub mod prefetch;
mod published;
mod push_permission;

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::join_all;

pub use builders::{builder_names, folder_builder};
pub use published::describe;
use published::describe_only;
pub use push_permission::check_push_permission;

use crate::base::error::{Diagnostic as _, chain};
use crate::base::units;
use crate::client::registry::{RegistryClient, RegistryError, RegistryScheme};
use crate::model::image::{ImageReference, Labels};
use crate::model::layout::Layout;
use crate::model::plan::{Folders, Inventory, PlanDraft, Presence, QueryFailure};

/// The time limit of requests without a ping; slower registries are queried as usual.
const NO_PING_TIMEOUT: Duration = Duration::from_secs(2);

/// The time limit for base images that are tracked: a registry that does not respond causes no build.
const TRACKED_BASES_TIMEOUT: Duration = Duration::from_secs(10);

/// The time limit for base images whose state is only shown.
const SHOWN_BASES_TIMEOUT: Duration = Duration::from_secs(3);

/// The number of concurrent requests; each registry has its own limit, too.
const CONCURRENCY: usize = 256;

/// Queries the registries once for each reference.
///
/// If a registry gives no clear response, the reference is [`Presence::Unknown`], never absent.
pub async fn registries(
    client: &RegistryClient,
    images: Vec<ImageReference>,
) -> BTreeMap<ImageReference, Presence> {
    let requests = futures_util::stream::iter(images).map(|image| async move {
        let presence = match client.digest(&image).await {
            Ok(Some(digest)) => Presence::Present(digest),
            Ok(None) => Presence::Absent,
            Err(error) => Presence::Unknown(refusal(&error)),
        };
        (image, presence)
    });
    requests.buffer_unordered(CONCURRENCY).collect().await
}

/// Returns the labels of images in registries, as far as they can be read.
pub async fn labels(
    client: &RegistryClient,
    layout: &Layout,
    images: Vec<ImageReference>,
) -> BTreeMap<ImageReference, Labels> {
    if images.is_empty() {
        return BTreeMap::new();
    }
    let mut inventory = Inventory {
        registry: registries(client, images.clone()).await,
        ..Inventory::default()
    };
    let undescribed = inventory.undescribed(images.clone());
    describe_only(client, layout, undescribed, &mut inventory).await;
    let labels = images.into_iter().filter_map(|image| {
        let Presence::Present(digest) = inventory.registry.get(&image)? else {
            return None;
        };
        let described = inventory.published.get(digest)?.as_ref().ok()?;
        Some((image, described.labels.clone()))
    });
    labels.collect()
}

/// Like [`registries`], but skips the ping of registries that required no authentication last time, which saves a
/// round trip. `open` has the schemes of these registries.
pub async fn registries_with_known_schemes(
    client: &RegistryClient,
    mut images: Vec<ImageReference>,
    open: &BTreeMap<String, RegistryScheme>,
) -> BTreeMap<ImageReference, Presence> {
    let mut by_registry: BTreeMap<_, Vec<ImageReference>> = BTreeMap::new();
    for image in &images {
        if let Some(registry) = image.repository().registry()
            && let Some(scheme) = open.get(registry.as_str())
        {
            let images = by_registry.entry((registry, *scheme)).or_default();
            images.push(image.clone());
        }
    }
    let requests = by_registry.into_iter().map(|((registry, scheme), images)| {
        client.anonymous_digests(registry, scheme, images, NO_PING_TIMEOUT)
    });
    let mut responses = BTreeMap::new();
    for (image, response) in join_all(requests).await.into_iter().flatten() {
        let presence = match response {
            Ok(digest) => Presence::Present(digest),
            Err(error) => Presence::Unknown(refusal(&error)),
        };
        responses.insert(image, presence);
    }
    images.retain(|image| !responses.contains_key(image));
    responses.extend(registries(client, images).await);
    responses
}

/// Completes the inventory of a draft's images: describes them, and checks the identity tags of those whose commit
/// tag is absent or stale.
pub async fn complete(
    client: &RegistryClient,
    layout: &Layout,
    draft: &PlanDraft<'_>,
    folders: &Folders,
    inventory: &mut Inventory,
) {
    let undescribed = draft.undescribed(inventory);
    describe(client, layout, undescribed, inventory).await;
    bases(client, draft, inventory).await;
    let identities = draft.identities(inventory, folders);
    if identities.is_empty() {
        return;
    }
    let found = registries(client, identities.clone()).await;
    inventory.registry.extend(found);
    let undescribed = draft.undescribed_among(inventory, identities);
    describe(client, layout, undescribed, inventory).await;
}

/// Queries the registries of the base images that existing images record, if moved ones cause a build.
pub async fn bases(client: &RegistryClient, draft: &PlanDraft<'_>, inventory: &mut Inventory) {
    let required = draft.refreshed_bases(inventory);
    let bases = draft.bases(inventory).into_iter();
    let (required, others) = bases.partition(|base| required.contains(base));
    let (found, others) = tokio::join!(
        registries(client, required),
        registries_within(client, others, TRACKED_BASES_TIMEOUT)
    );
    inventory.bases.extend(found.into_iter().chain(others));
}

/// Queries the registries of the base images that existing images record, for display.
pub async fn recorded_bases(
    client: &RegistryClient,
    draft: &PlanDraft<'_>,
    inventory: &mut Inventory,
) {
    let images = draft.recorded_bases(inventory).into_iter().collect();
    let found = registries_within(client, images, SHOWN_BASES_TIMEOUT).await;
    inventory.bases.extend(found);
}

/// Like [`registries`], but an image is unknown if its registry does not respond in time.
async fn registries_within(
    client: &RegistryClient,
    images: Vec<ImageReference>,
    limit: Duration,
) -> BTreeMap<ImageReference, Presence> {
    let requests = futures_util::stream::iter(images).map(|image| async move {
        let single = registries(client, vec![image.clone()]);
        tokio::time::timeout(limit, single)
            .await
            .unwrap_or_else(|_| {
                let why = format!("no response within {}", units::limit(limit));
                let hints = Vec::new();
                BTreeMap::from([(image, Presence::Unknown(QueryFailure { why, hints }))])
            })
    });
    let found = requests.buffer_unordered(CONCURRENCY);
    found.flat_map(futures_util::stream::iter).collect().await
}

fn refusal(error: &RegistryError) -> QueryFailure {
    QueryFailure {
        why: chain(error).replace("\n  cause: ", ": "),
        hints: error.hints(),
    }
}
