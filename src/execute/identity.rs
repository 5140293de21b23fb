//! Identity tags: a tag per recipe for every pushed image.
//!
//! Registries have no compare-and-swap. A push checks the tag before and right after setting it, and adopts the image
//! of another run if it finds one. The next run detects remaining races, because it compares the images that an image
//! was built from.

use std::sync::atomic::{AtomicBool, Ordering};

use super::ExecuteContext;
use super::publish::{may_refuse_tag_move, pull, tag_engine, transfer_as};
use super::step_error::{StepError, Stop};
use super::used_images::UsedImages;
use crate::model::event::{Event, Unit};
use crate::model::image::{Digest, ImageReference, Labels, Tag};
use crate::model::plan::{Equivalence, PushStep};

/// The maximum number of attempts to set the tag; only runs that keep replacing each other's images need more than two.
pub const ROUNDS: usize = 5;

/// Whether the commit's tag is on an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommitTag {
    Set,
    /// The registry did not allow moving it.
    Refused,
}

/// The push of one image.
#[derive(Clone, Copy)]
pub struct Publication<'a> {
    pub context: &'a ExecuteContext,
    pub unit: &'a Unit,
    pub step: &'a PushStep,
    /// The images that the pushed one was built from.
    pub used: &'a UsedImages,
    /// The registry's images that the pushed one replaces.
    pub replaced: &'a [Digest],
    /// Whether an image of another run was adopted.
    pub is_adopted: &'a AtomicBool,
    /// Called when the registry was found to have no equivalent image, before anything is sent.
    pub on_upload: &'a (dyn Fn() + Sync),
}

impl Publication<'_> {
    /// Returns the digest of an equivalent image in the registry, if there is one.
    ///
    /// Errors are ignored: the push reports them.
    pub async fn find(&self, image: &ImageReference) -> Option<Digest> {
        let digest = self.context.registry.digest(image).await.ok()??;
        let is_new = !self.replaced.contains(&digest);
        (is_new && self.is_equivalent(&digest).await).then_some(digest)
    }

    /// Returns whether the registry's image of that digest was built from the same inputs and needed images.
    async fn is_equivalent(&self, digest: &Digest) -> bool {
        if self.step.concurrent.wanted == Equivalence::Any {
            return true;
        }
        let by_digest = self.step.image.repository().with_digest(digest.clone());
        let Ok(found) = self.context.registry.describe(&by_digest).await else {
            return false;
        };
        match &self.step.index {
            Some(index) => index.images.iter().all(|entry| {
                let image = found.for_platform(digest, &entry.platform);
                image.is_some_and(|(_, labels)| self.accepts(labels))
            }),
            None => self.accepts(&found.labels),
        }
    }

    /// Returns whether an image with these labels was built from the same inputs and needed images.
    pub fn accepts(&self, labels: &Labels) -> bool {
        self.step.concurrent.wanted.accepts(labels) && self.used.matches_labels(labels)
    }

    /// Pulls the registry's image of that digest, and gives it all names of the engine's own image.
    pub async fn adopt(&self, digest: &Digest) -> Result<(), Stop> {
        let Self {
            context,
            unit,
            step,
            ..
        } = self;
        let image = &step.image;
        let own = context.engine.content(image).await;
        let own = own.map_err(StepError::from)?;
        let is_own = own.is_some_and(|own| own.ids().contains(digest.as_str()));
        self.is_adopted.fetch_or(!is_own, Ordering::Relaxed);
        context.events.emit(Event::note(format!(
            "{unit}: another run pushed {image} first, from the same inputs; using its image"
        )));
        self.provide(digest).await
    }

    /// Pulls the registry's image of that digest under all names of the engine's own image, unless it is not for the
    /// engine's platform.
    pub async fn provide(&self, digest: &Digest) -> Result<(), Stop> {
        let Self {
            context,
            unit,
            step,
            ..
        } = self;
        if step.index.as_ref().is_some_and(|index| !index.is_pulled) {
            return Ok(());
        }
        pull(context, unit, &step.image, Some(digest)).await?;
        tag_engine(context, &step.image, &step.concurrent.names).await
    }

    /// Sets the identity tag to the image that was pushed with its commit tag, or adopts the image of the run that was
    /// first. Returns the digest of the authoritative image.
    async fn settle(&self, identity: &ImageReference, own: Digest) -> Result<Digest, Stop> {
        let registry = &self.context.registry;
        for _ in 0..ROUNDS {
            let found = registry.digest(identity).await.map_err(StepError::from)?;
            match found {
                Some(found) if found == own => return Ok(own),
                Some(found)
                    if !self.replaced.contains(&found) && self.is_equivalent(&found).await =>
                {
                    self.adopt(&found).await?;
                    return Ok(found);
                }
                // No image, or one built from outdated needed images. A lock may refer to the latter, so it keeps a
                // separate tag.
                found => {
                    if let (Some(found), Some(tag)) = (found, identity.tag()) {
                        self.set(&found, tag.superseded(&found)).await?;
                    }
                    if let Some(tag) = identity.tag() {
                        self.set(&own, tag.clone()).await?;
                    }
                }
            }
        }
        let error = StepError::plain(format!(
            "{identity} was replaced by another run each time it was set"
        ));
        Err(error
            .hint("several runs are building it from different images: wait for them to finish and run xp again")
            .into())
    }

    async fn set(&self, digest: &Digest, tag: Tag) -> Result<(), Stop> {
        let image = self.step.image.repository().with_digest(digest.clone());
        let set = self.context.registry.set_tags(&image, &[tag]).await;
        Ok(set.map_err(StepError::from)?)
    }

    /// Pushes the engine's image with the identity tag, for a registry that does not allow moving the commit tag.
    pub async fn push_as(&self, identity: &ImageReference) -> Result<(), Stop> {
        let (context, unit) = (self.context, self.unit);
        let engine = &context.engine;
        let own = self.step.image.to_string();
        let tagged = engine.tag(&own, identity).await;
        tagged.map_err(StepError::from)?;
        let pushed = transfer_as(context, unit, engine, identity).await;
        // The engine finds the image by its commit tag; a second name would only clutter its list.
        _ = engine.remove_name(identity).await;
        pushed
    }

    /// Returns the registry's digest of the engine's image, which was pushed with that name.
    pub async fn own_digest(&self, pushed: &ImageReference) -> Result<Digest, Stop> {
        let engine = &self.context.engine;
        let own = engine.image(&self.step.image).await;
        let content = engine.content(&self.step.image).await;
        let (own, content) = (
            own.map_err(StepError::from)?,
            content.map_err(StepError::from)?,
        );
        // Other runs may use the same engine.
        if !own.is_some_and(|own| self.step.concurrent.wanted.accepts(&own.labels)) {
            let error = StepError::plain(format!(
                "another run assigned the name {} to an image with different inputs",
                self.step.image
            ));
            return Err(error.hint("wait for it to finish and run xp again").into());
        }
        let ids = content.as_ref().map(|content| content.ids());
        let is_own = |id: &str| ids.as_ref().is_some_and(|ids| ids.contains(id));
        let registry = &self.context.registry;
        let found = registry.digest(pushed).await.map_err(StepError::from)?;
        if let Some(found) = &found {
            if is_own(found.as_str()) {
                return Ok(found.clone());
            }
            // With Podman, the pushed digest differs from the one in the engine.
            let by_digest = pushed.repository().with_digest(found.clone());
            let described = registry.describe(&by_digest).await;
            let config = described.ok().and_then(|it| it.config);
            if config.is_some_and(|config| is_own(config.as_str())) {
                return Ok(found.clone());
            }
        }
        // Another run moved the tag since; the registry still has the image by its digest.
        let prefix = format!("{}@", pushed.repository());
        let digests = content.into_iter().flat_map(|content| content.digests);
        let mut digests = digests.filter_map(|name| name.strip_prefix(&prefix)?.parse().ok());
        if let Some(own) = digests.next_back() {
            // The containerd image store lists the digest of an image that was never pushed as well.
            let by_digest = pushed.repository().with_digest(own);
            if let Some(own) = registry.digest(&by_digest).await.map_err(StepError::from)? {
                return Ok(own);
            }
        }
        // Another run on the same engine gave the name to its own image, which is not pushed yet.
        match found {
            Some(found) if self.is_equivalent(&found).await => {
                self.adopt(&found).await?;
                Ok(found)
            }
            _ => {
                let error =
                    StepError::plain(format!("{pushed} in the registry is not the pushed image"));
                Err(error
                    .hint("another run pushed at the same time: run xp again")
                    .into())
            }
        }
    }

    /// Moves the commit tag to the authoritative image and returns its digest. A registry may refuse to move it; then
    /// only the identity tag names the image.
    pub async fn move_commit_tag(
        &self,
        identity: &ImageReference,
        pushed: Digest,
    ) -> Result<(Digest, CommitTag), Stop> {
        let mut current = self.settle(identity, pushed).await?;
        let mut commit_tag = CommitTag::Set;
        for _ in 0..ROUNDS {
            commit_tag = self.set_commit_tag(identity, &current).await?;
            // Another run may have set either tag in between.
            let settled = self.settle(identity, current.clone()).await?;
            if settled == current {
                break;
            }
            current = settled;
        }
        Ok((current, commit_tag))
    }

    async fn set_commit_tag(
        &self,
        identity: &ImageReference,
        to: &Digest,
    ) -> Result<CommitTag, Stop> {
        let image = &self.step.image;
        let registry = &self.context.registry;
        let found = registry.digest(image).await.map_err(StepError::from)?;
        let (Some(tag), false) = (image.tag(), found.as_ref() == Some(to)) else {
            return Ok(CommitTag::Set);
        };
        let wanted = image.repository().with_digest(to.clone());
        match registry.set_tags(&wanted, std::slice::from_ref(tag)).await {
            Err(error) if may_refuse_tag_move(&error) => {
                self.context.events.emit(Event::note(format!(
                    "{}: the registry does not allow moving {image}; the image is {identity}",
                    self.unit
                )));
                Ok(CommitTag::Refused)
            }
            moved => {
                moved.map_err(StepError::from)?;
                Ok(CommitTag::Set)
            }
        }
    }
}
