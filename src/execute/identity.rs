//! The tag that never moves, under which every pushed image is found.
//!
//! Registries have no compare-and-swap. A push looks before it sets the tag and right after; whoever finds the image of
//! another run there takes that one. What slips through is found by the next run, which compares the images that an
//! image was built from.

use super::Context;
use super::needs::UsedImages;
use super::publish::{may_keep_tag, pull, transfer_as};
use super::stop::{StepError, Stop};
use crate::event::{Event, Unit};
use crate::image::{Digest, ImageReference, Tag};
use crate::plan::{PushStep, Wanted};

/// How often the tag is set before it is given up: only runs that keep replacing each other's images need more than
/// two rounds.
pub const ROUNDS: usize = 5;

/// The push of one image.
#[derive(Clone, Copy)]
pub struct Publication<'a> {
    pub context: &'a Context,
    pub unit: &'a Unit,
    pub step: &'a PushStep,
    /// The images that the pushed one was built from.
    pub used: &'a UsedImages,
    /// The images of the registry whose place the pushed one takes.
    pub replaced: &'a [Digest],
}

impl Publication<'_> {
    /// Returns the digest by which the registry has an image that is as good as the engine's own.
    ///
    /// A registry that cannot tell says so to whoever pushes.
    pub async fn find(&self, image: &ImageReference) -> Option<Digest> {
        let digest = self.context.registry.digest(image).await.ok()??;
        let is_new = !self.replaced.contains(&digest);
        (is_new && self.is_as_good(&digest).await).then_some(digest)
    }

    /// Whether the registry's image of that digest was built from the same inputs and the same images.
    async fn is_as_good(&self, digest: &Digest) -> bool {
        let wanted = &self.step.rival.wanted;
        if *wanted == Wanted::Any {
            return true;
        }
        let by_digest = self.step.image.repository().with_digest(digest.clone());
        let found = self.context.registry.describe(&by_digest).await;
        found.is_ok_and(|it| wanted.is_met_by(&it.labels) && self.used.go_with(&it.labels))
    }

    /// Takes the registry's image of that digest into the engine, by all the names of the engine's own.
    pub async fn adopt(&self, digest: &Digest) -> Result<(), Stop> {
        let Self {
            context,
            unit,
            step,
            ..
        } = self;
        let image = &step.image;
        context.events.emit(Event::Note(format!(
            "{unit}: another run pushed {image} first, built from the same inputs: its image is used"
        )));
        pull(context, unit, image, Some(digest)).await?;
        super::publish::tag_engine(context, image, &step.rival.names).await
    }

    /// Gives the identity tag to the image that was pushed by the tag of its commit, or takes the image of the run
    /// that was first. Returns the digest of the image that counts.
    async fn settle(&self, identity: &ImageReference, own: Digest) -> Result<Digest, Stop> {
        let registry = &self.context.registry;
        for _ in 0..ROUNDS {
            let found = registry.digest(identity).await.map_err(StepError::from)?;
            match found {
                Some(found) if found == own => return Ok(own),
                Some(found) if !self.replaced.contains(&found) && self.is_as_good(&found).await => {
                    self.adopt(&found).await?;
                    return Ok(found);
                }
                // Nothing is there, or an image that was built from other images than those that count. A lock may
                // name that one, so it keeps a tag.
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
            .hint("several runs build it from different images: let them end, and run xp again")
            .into())
    }

    async fn set(&self, digest: &Digest, tag: Tag) -> Result<(), Stop> {
        let image = self.step.image.repository().with_digest(digest.clone());
        let set = self.context.registry.set_tags(&image, &[tag]).await;
        Ok(set.map_err(StepError::from)?)
    }

    /// Pushes the engine's image by the identity tag, where the registry keeps the tag of the commit.
    pub async fn push_as(&self, identity: &ImageReference) -> Result<(), Stop> {
        let (context, unit) = (self.context, self.unit);
        let engine = &context.engine;
        let own = self.step.image.to_string();
        let tagged = engine.tag(&own, identity).await;
        tagged.map_err(StepError::from)?;
        let pushed = transfer_as(context, unit, identity).await;
        // The engine finds the image by its commit; a second name only fills its list.
        _ = engine.remove_name(identity).await;
        pushed
    }

    /// Returns the digest of the engine's own image, which was pushed by that name.
    pub async fn own_digest(&self, pushed: &ImageReference) -> Result<Digest, Stop> {
        let engine = &self.context.engine;
        let own = engine.image(&self.step.image).await;
        let content = engine.content(&self.step.image).await;
        let (own, content) = (
            own.map_err(StepError::from)?,
            content.map_err(StepError::from)?,
        );
        // Other runs may use the same engine.
        if !own.is_some_and(|own| self.step.rival.wanted.is_met_by(&own.labels)) {
            let error = StepError::plain(format!(
                "another run gave {} to an image that was built from other inputs",
                self.step.image
            ));
            return Err(error.hint("let it end, and run xp again").into());
        }
        let ids = content.as_ref().map(|content| content.ids());
        let is_own = |id: &str| ids.as_ref().is_some_and(|ids| ids.contains(id));
        let registry = &self.context.registry;
        let found = registry.digest(pushed).await.map_err(StepError::from)?;
        if let Some(found) = &found {
            if is_own(found.as_str()) {
                return Ok(found.clone());
            }
            // Podman computes the digest of what it pushes, and keeps another one.
            let by_digest = pushed.repository().with_digest(found.clone());
            let described = registry.describe(&by_digest).await;
            let config = described.ok().and_then(|it| it.config);
            if config.is_some_and(|config| is_own(config.as_str())) {
                return Ok(found.clone());
            }
        }
        // Another run has moved the tag since; the registry keeps the image by its digest.
        let prefix = format!("{}@", pushed.repository());
        let digests = content.into_iter().flat_map(|content| content.digests);
        let mut digests = digests.filter_map(|name| name.strip_prefix(&prefix)?.parse().ok());
        if let Some(own) = digests.next_back() {
            return Ok(own);
        }
        // A run in the same engine has given the name to an image of its own, which was not pushed yet.
        match found {
            Some(found) if self.is_as_good(&found).await => {
                self.adopt(&found).await?;
                Ok(found)
            }
            _ => {
                let error =
                    StepError::plain(format!("the registry does not have {pushed} as pushed"));
                Err(error
                    .hint("another run pushed at the same time: run xp again")
                    .into())
            }
        }
    }

    /// Moves the tag of the commit to the image that counts, and returns that. A registry may refuse to move it: the
    /// identity tag is the image's name.
    pub async fn move_commit_tag(
        &self,
        identity: &ImageReference,
        pushed: Digest,
    ) -> Result<Digest, Stop> {
        let mut counts = self.settle(identity, pushed).await?;
        for _ in 0..ROUNDS {
            self.set_commit_tag(identity, &counts).await?;
            // Another run may have set either tag between the two.
            let settled = self.settle(identity, counts.clone()).await?;
            if settled == counts {
                break;
            }
            counts = settled;
        }
        Ok(counts)
    }

    async fn set_commit_tag(&self, identity: &ImageReference, to: &Digest) -> Result<(), Stop> {
        let image = &self.step.image;
        let registry = &self.context.registry;
        let found = registry.digest(image).await.map_err(StepError::from)?;
        let (Some(tag), false) = (image.tag(), found.as_ref() == Some(to)) else {
            return Ok(());
        };
        let wanted = image.repository().with_digest(to.clone());
        match registry.set_tags(&wanted, std::slice::from_ref(tag)).await {
            Err(error) if may_keep_tag(&error) => {
                self.context.events.emit(Event::Note(format!(
                    "{}: the registry does not let {image} be moved: the image is {identity}",
                    self.unit
                )));
                Ok(())
            }
            moved => Ok(moved.map_err(StepError::from)?),
        }
    }
}
