//! The needed images: images of other services that an image is built from.

use std::collections::BTreeMap;

use super::ExecuteContext;
use super::publish::pull;
use super::step_error::{StepError, Stop};
use crate::client::engine::ImageContent;
use crate::model::event::{Event, Unit};
use crate::model::image::{Digest, ImageReference, Labels};
use crate::model::plan::{NeededImage, needed_ids};
use crate::model::recipe::LABEL_NEEDED_IMAGES;

/// The needed images, as they were in the engine when the build began.
pub struct UsedImages(Vec<(NeededImage, ImageContent)>);

impl UsedImages {
    /// Looks up the needed images of a build, and pulls those with an identity tag that now points at another image.
    ///
    /// # Errors
    ///
    /// If the engine does not have an image: the build would pull the image of that name from a registry.
    pub async fn find(
        context: &ExecuteContext,
        unit: &Unit,
        needs: &[NeededImage],
    ) -> Result<Self, Stop> {
        let mut used = Vec::new();
        for need in needs {
            let mut found = content(context, &need.image).await?;
            if let Some(digest) = published(context, need).await
                && !found.ids().contains(digest.as_str())
            {
                context.events.emit(Event::note(format!(
                    "{unit}: another run pushed the image of `{}` first; building from that one",
                    need.service
                )));
                pull(context, unit, &need.image, Some(&digest)).await?;
                found = content(context, &need.image).await?;
            }
            used.push((need.clone(), found));
        }
        Ok(Self(used))
    }

    /// Looks up the needed images of an image built earlier, as far as the engine still has them.
    ///
    /// # Errors
    ///
    /// If the engine does not respond.
    pub async fn present(context: &ExecuteContext, needs: &[NeededImage]) -> Result<Self, Stop> {
        let mut used = Vec::new();
        for need in needs {
            let found = context.engine.content(&need.image).await;
            let found = found.map_err(StepError::from)?;
            used.extend(found.map(|found| (need.clone(), found)));
        }
        Ok(Self(used))
    }

    /// Returns the label that records these images; `None` if there are none.
    pub fn label(&self) -> Option<(String, String)> {
        let ids = self.0.iter();
        let ids: BTreeMap<_, _> = ids
            .map(|(need, content)| (need.service.as_str(), content.id.as_str()))
            .collect();
        if ids.is_empty() {
            return None;
        }
        let text = serde_json::to_string(&ids).ok()?;
        Some((LABEL_NEEDED_IMAGES.to_owned(), text))
    }

    /// Returns build arguments that name these images by digest, for a platform for which the engine does not have them:
    /// their tags may be on other indexes than the ones that the engine's images are from.
    pub async fn args_by_digest(
        &self,
        context: &ExecuteContext,
        args: &BTreeMap<String, String>,
    ) -> BTreeMap<String, String> {
        let mut args = args.clone();
        for (need, used) in &self.0 {
            let name = need.image.to_string();
            if !args.values().any(|value| *value == name) {
                continue;
            }
            if let Some(digest) = registry_digest(context, need, used).await {
                let named = args.values_mut().filter(|value| **value == name);
                named.for_each(|value| *value = format!("{name}@{digest}"));
            }
        }
        args
    }

    /// Returns whether an image with these labels was built from the same images.
    pub fn matches_labels(&self, labels: &Labels) -> bool {
        if self.0.is_empty() {
            return true;
        }
        let Some(ids) = needed_ids(labels) else {
            return false;
        };
        self.0.iter().all(|(need, content)| {
            let id = ids.get(need.service.as_str());
            id.is_some_and(|id| content.ids().contains(id))
        })
    }

    /// Returns an error if an identity tag of these images points at another image now.
    pub async fn moved(&self, context: &ExecuteContext) -> Option<StepError> {
        for (need, used) in &self.0 {
            if let Some(digest) = published(context, need).await
                && !used.ids().contains(digest.as_str())
                && !is_now(context, need, used, &digest).await
            {
                let error = StepError::plain(format!(
                    "another run replaced the image of `{}` that it was built from",
                    need.service
                ));
                return Some(error.hint("several runs are building it concurrently: run xp again"));
            }
        }
        None
    }

    /// Checks that the image with that id was built from exactly these images. `base` is the base image of its
    /// Dockerfile, if known.
    ///
    /// # Errors
    ///
    /// If the image was built from something else.
    pub async fn check(
        &self,
        context: &ExecuteContext,
        name: &ImageReference,
        id: &str,
        base: Option<&ImageReference>,
    ) -> Result<(), Stop> {
        for (need, used) in &self.0 {
            let service = &need.service;
            if content(context, &need.image).await?.id != used.id {
                let error = StepError::plain(format!(
                    "the image of `{service}` was replaced in the engine while {name} was built from it"
                ));
                return Err(error
                    .hint("another build was running: run `xp build` again")
                    .into());
            }
            if base != Some(&need.image) {
                continue;
            }
            let built = context
                .engine
                .content_of_id(id)
                .await
                .map_err(StepError::from)?;
            let layers = built.map(|built| built.layers).unwrap_or_default();
            if !layers.starts_with(&used.layers) {
                let error = StepError::plain(format!(
                    "the engine did not build {name} from {}: its layers do not start with those of `{service}`",
                    need.image
                ));
                return Err(error
                    .hint("nothing was tagged; report this as a bug, with the engine version that `xp doctor` shows")
                    .into());
            }
        }
        Ok(())
    }
}

/// Returns whether a used image has that digest by now: the engine knows the digest only after a push.
async fn is_now(
    context: &ExecuteContext,
    need: &NeededImage,
    used: &ImageContent,
    digest: &Digest,
) -> bool {
    let found = context.engine.content(&need.image).await;
    found
        .ok()
        .flatten()
        .is_some_and(|found| found.id == used.id && found.ids().contains(digest.as_str()))
}

/// Returns the digest of a used image in its registry, unless it is unknown or ambiguous: an engine's image can be part of
/// several indexes.
async fn registry_digest(
    context: &ExecuteContext,
    need: &NeededImage,
    used: &ImageContent,
) -> Option<Digest> {
    let by_identity = published(context, need).await;
    if let Some(digest) = by_identity.filter(|digest| used.ids().contains(digest.as_str())) {
        return Some(digest);
    }
    let names = used.digests.iter();
    let names = names.filter_map(|name| name.parse::<ImageReference>().ok());
    let repository = need.image.repository();
    let mut own = names.filter(|name| name.repository() == repository);
    let digest = own.next()?.digest().cloned();
    digest.filter(|_| own.next().is_none())
}

/// Returns the digest of a needed image's identity tag. Errors are ignored: the next run compares again.
async fn published(context: &ExecuteContext, need: &NeededImage) -> Option<Digest> {
    let identity = need.identity.as_ref()?;
    context.registry.digest(identity).await.ok().flatten()
}

async fn content(context: &ExecuteContext, image: &ImageReference) -> Result<ImageContent, Stop> {
    let found = context.engine.content(image).await;
    let gone = || {
        StepError::plain(format!("the engine no longer has the needed image {image}"))
            .hint("it was removed after planning: run `xp build` again")
    };
    Ok(found.map_err(StepError::from)?.ok_or_else(gone)?)
}
