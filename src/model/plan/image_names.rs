//! The digest and the tags of a unit's image, before and after the run.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::decide::{Decided, ServiceVerdict};
use super::draft::PlanCandidate;
use super::{Decision, Presence, Step, UnitPlan};
use crate::model::event::ImageResult;
use crate::model::image::{Digest, ImageReference, Tag};

/// What is known about an image apart from its main name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ImageNames {
    /// The digest of the existing image in its registry; `None` if it will be built or pushed, or is only in the engine.
    pub digest: Option<Digest>,
    /// The tags that the image has or will get: in its registry, or in the engine if the registry will not have it.
    pub tags: Vec<Tag>,
    /// The identity tag, if it is known to be on the image or will be.
    pub identity: Option<Tag>,
}

impl Decided<'_> {
    /// Returns the names of a service's image, given the decision and its steps.
    pub(super) fn image_names(
        &self,
        candidate: &PlanCandidate<'_>,
        verdict: &ServiceVerdict,
        steps: &[Step],
    ) -> ImageNames {
        let own = candidate.image.tag().cloned();
        let all = || own.iter().chain(&candidate.tags).cloned();
        if matches!(verdict.decision, Decision::Build | Decision::Push) {
            let identity = steps.iter().find_map(|step| match step {
                Step::Push(push) => push.identity.as_ref()?.tag().cloned(),
                _ => None,
            });
            return ImageNames {
                digest: None,
                tags: all().collect(),
                identity,
            };
        }
        let comparison = self.comparisons.get(&candidate.service.name);
        let comparison = comparison.filter(|it| {
            // The engine's image of a working copy need not be the registry's.
            let is_used = !candidate.is_local || verdict.decision == Decision::Pull;
            is_used && it.registry.is_usable()
        });
        let Some((comparison, digest)) = comparison.and_then(|it| Some((it, it.digest.clone()?)))
        else {
            return ImageNames {
                tags: all().collect(),
                ..ImageNames::default()
            };
        };
        let is_on_it = |tag: &Tag| {
            let name = candidate.image.repository().tagged(tag.clone());
            let found = self.inventory.registry.get(&name);
            // The tag from a lock is not queried.
            let is_pinned = candidate.pinned.is_some() && own.as_ref() == Some(tag);
            is_pinned
                || verdict.registry_tags.contains(tag)
                || matches!(found, Some(Presence::Present(found)) if *found == digest)
        };
        let mut tags: Vec<Tag> = all().filter(is_on_it).collect();
        if own.is_some_and(|own| !tags.contains(&own)) {
            tags.splice(0..0, comparison.identity.clone());
        }
        ImageNames {
            digest: Some(digest),
            tags,
            identity: comparison.identity.clone(),
        }
    }
}

impl UnitPlan {
    /// Returns the image once all steps except the held ones are done. `pushed` is its digest in the registry if it was
    /// pushed; `has_own_tag` is false if the registry did not allow moving the commit's tag to it.
    pub fn image_result(&self, pushed: Option<&Digest>, has_own_tag: bool) -> ImageResult {
        let held = self.held_tags();
        let mut tags: Vec<&Tag> = self.names.tags.iter().collect();
        tags.retain(|tag| !held.contains(tag));
        if !has_own_tag {
            tags.retain(|tag| Some(*tag) != self.image.tag());
            tags.splice(0..0, &self.names.identity);
        }
        ImageResult {
            image: self.image.to_string(),
            digest: pushed.or(self.names.digest.as_ref()).map(Digest::to_string),
            tags: tags.into_iter().map(Tag::to_string).collect(),
        }
    }

    /// Adds the tags of the held steps to the result, once they are done too.
    pub fn with_held_tags(&self, mut result: ImageResult) -> ImageResult {
        let held = self.held_tags();
        let tags = self.names.tags.iter().filter(|tag| held.contains(tag));
        result.tags.extend(tags.map(Tag::to_string));
        result
    }

    fn held_tags(&self) -> BTreeSet<&Tag> {
        let steps = self.held_steps().iter();
        let tags = steps.flat_map(|step| match step {
            Step::RegistryTag { tags, .. } => tags.iter().collect(),
            Step::EngineTag { names, .. } => names.iter().filter_map(ImageReference::tag).collect(),
            _ => Vec::new(),
        });
        tags.collect()
    }
}
