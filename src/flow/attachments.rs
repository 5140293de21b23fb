//! Finds images whose run ended before it had attached everything to them.

use futures_util::StreamExt as _;

use super::session::Session;
use super::survey;
use crate::base::error::Failure;
use crate::base::plural::count_of;
use crate::client::registry::{RegistryClient, RegistryError};
use crate::execute::attest::platforms;
use crate::model::event::Event;
use crate::model::image::{Digest, ImageReference, ImageRepository};
use crate::model::plan::{Folders, Inventory, LastAttachment, PlanDraft, UncertainImage};
use crate::model::supply::{DSSE_TYPE, IN_TOTO_TYPE, SIGNATURE_ARTIFACT, cosign_tag, is_sbom_type};

/// The number of images that are looked at concurrently.
const CONCURRENCY: usize = 8;

/// Marks images without the last attachment, so that they are built again: what an earlier run pushed cannot be described
/// or signed by this one, which does not know what is in it.
///
/// # Errors
///
/// A registry does not respond.
pub async fn reject(
    session: &Session,
    registry: &RegistryClient,
    draft: &PlanDraft<'_>,
    folders: &Folders,
    inventory: &mut Inventory,
) -> Result<(), Failure> {
    let images = draft.uncertain_images(inventory);
    if images.is_empty() {
        return Ok(());
    }
    let what = count_of(images.len(), "image");
    session
        .events
        .emit(Event::stage(format!("looking at what describes {what}")));
    let requests = futures_util::stream::iter(&images)
        .map(|image| has_last(registry, image))
        .buffered(CONCURRENCY);
    let found = session.unless_interrupted(async { Ok(requests.collect::<Vec<_>>().await) });
    let found = found.await;
    session.events.emit(Event::StageFinished);
    let mut rejected = Vec::new();
    for (image, has_last) in images.iter().zip(found?) {
        if !has_last? {
            let noun = image.last.noun();
            let why = format!("has no {noun}: the run that pushed it did not finish");
            rejected.push((image.repository.with_digest(image.digest.clone()), why));
        }
    }
    if rejected.is_empty() {
        return Ok(());
    }
    reject_all(&rejected, inventory);
    // If the registry does not move the tag of a commit, a later run has set only the identity tag.
    let completed = async {
        survey::complete(registry, &session.layout, draft, folders, inventory).await;
        Ok(())
    };
    session.unless_interrupted(completed).await?;
    // Their own identity tags were found as well.
    reject_all(&rejected, inventory);
    Ok(())
}

fn reject_all(images: &[(ImageReference, String)], inventory: &mut Inventory) {
    for (image, why) in images {
        inventory.reject(image, why.clone());
    }
}

/// Returns whether an image has what is attached to it last.
async fn has_last(
    registry: &RegistryClient,
    image: &UncertainImage,
) -> Result<bool, RegistryError> {
    let UncertainImage {
        repository,
        digest,
        last,
    } = image;
    match last {
        LastAttachment::Signature => {
            if let Some(tag) = cosign_tag(digest, "sig")
                && registry
                    .attachment(&repository.tagged(tag))
                    .await?
                    .is_some()
            {
                return Ok(true);
            }
            has_kind(registry, repository, digest, |kind| {
                kind == SIGNATURE_ARTIFACT
            })
            .await
        }
        LastAttachment::Provenance => {
            let is_provenance = |kind: &str| [IN_TOTO_TYPE, DSSE_TYPE].contains(&kind);
            has_kind(registry, repository, digest, is_provenance).await
        }
        LastAttachment::Sbom => {
            let children = platforms(registry, repository, digest).await?;
            // The one of an index is attached to the images of its platforms.
            let last = children.unwrap_or_default().pop();
            let described = last.as_ref().unwrap_or(digest);
            has_kind(registry, repository, described, is_sbom_type).await
        }
    }
}

async fn has_kind(
    registry: &RegistryClient,
    repository: &ImageRepository,
    digest: &Digest,
    is_wanted: impl Fn(&str) -> bool,
) -> Result<bool, RegistryError> {
    let attached = registry.attachments(repository, digest).await?;
    Ok(attached.iter().any(|it| is_wanted(&it.kind)))
}
