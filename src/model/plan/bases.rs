//! Compares the base images that an image was built from with those in their registries, for `docker.bases: track`,
//! `--refresh-bases`, and for display.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::draft::{PlanCandidate, PlanDraft};
use super::{BaseUse, Inventory, Presence};
use crate::model::image::{Digest, ImageReference, Labels};
use crate::model::manifest::{BaseTracking, ServiceName};
use crate::model::recipe::{LABEL_BASES, RecipeChange, RecipeStatus};

/// The digests of base images and of the external builder image, by name with registry and tag.
pub type BaseDigests = BTreeMap<ImageReference, Digest>;

/// Returns the label that records base images. It is empty if they are unknown: without it, the image would have the label
/// of its base image.
pub fn bases_label(bases: Option<&BaseDigests>) -> (String, String) {
    let entries = |bases: &BaseDigests| -> BTreeMap<String, String> {
        let entries = bases.iter();
        entries
            .map(|(name, digest)| (name.to_string(), digest.to_string()))
            .collect()
    };
    let text = bases.and_then(|bases| serde_json::to_string(&entries(bases)).ok());
    (LABEL_BASES.to_owned(), text.unwrap_or_default())
}

/// Reads the label; `None` if it is missing or cannot be read.
fn recorded(labels: &Labels) -> Option<BaseDigests> {
    let entries: BTreeMap<String, String> = serde_json::from_str(labels.get(LABEL_BASES)?).ok()?;
    let entries = entries.into_iter();
    let parsed = entries.map(|(name, digest)| Some((name.parse().ok()?, digest.parse().ok()?)));
    parsed.collect()
}

/// A base image that an existing image records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedBase {
    pub image: ImageReference,
    /// The digest that was used.
    pub digest: Digest,
    /// The state of its tag in its registry.
    pub state: BaseState,
}

/// The state of a base image's tag, compared with the digest that was used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BaseState {
    /// It is still the same image.
    Same,
    /// It is another image now, with this digest.
    Moved(Digest),
    /// The registry does not have it.
    Absent,
    /// The registry was not queried, or did not respond.
    Unknown,
}

/// A base image that could not be compared, and the services that track it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownBase {
    pub image: ImageReference,
    pub services: Vec<ServiceName>,
    /// The reason.
    pub why: String,
}

impl PlanDraft<'_> {
    /// Returns the base images to query in their registries: those that existing images record, if moved ones cause a
    /// build.
    pub fn bases(&self, inventory: &Inventory) -> BTreeSet<ImageReference> {
        let follows = |it: &PlanCandidate<'_>| self.refreshes(it) || self.tracks_bases(it);
        self.unqueried(self.bases_of(inventory, follows), inventory)
    }

    /// Returns the base images whose state decides about a build, so that it must be known: with `--refresh-bases`.
    pub fn refreshed_bases(&self, inventory: &Inventory) -> BTreeSet<ImageReference> {
        self.bases_of(inventory, |it| self.refreshes(it))
    }

    /// Returns the base images that the selected services' existing images record, for display.
    pub fn recorded_bases(&self, inventory: &Inventory) -> BTreeSet<ImageReference> {
        self.unqueried(self.bases_of(inventory, |it| it.selected), inventory)
    }

    fn bases_of(
        &self,
        inventory: &Inventory,
        filter: impl Fn(&PlanCandidate<'_>) -> bool,
    ) -> BTreeSet<ImageReference> {
        let candidates = self.candidates.iter().filter(|it| filter(it));
        let labels = candidates.flat_map(|candidate| self.existing(candidate, inventory));
        let bases = labels.filter_map(recorded).flat_map(BTreeMap::into_keys);
        bases.collect()
    }

    fn unqueried(
        &self,
        mut bases: BTreeSet<ImageReference>,
        inventory: &Inventory,
    ) -> BTreeSet<ImageReference> {
        bases.retain(|base| !inventory.bases.contains_key(base));
        bases
    }

    /// Returns the labels of the images that a service has, the registry's first.
    fn existing<'i>(
        &self,
        candidate: &PlanCandidate<'_>,
        inventory: &'i Inventory,
    ) -> impl Iterator<Item = &'i Labels> + use<'i> {
        let in_engine = inventory.in_engine(&candidate.image);
        let in_registry = self.published_labels(candidate, inventory).into_iter();
        in_registry.chain(in_engine.map(|image| &image.labels))
    }

    /// Returns the base images that a service's image records, the registry's image if there is one; `None` if it does
    /// not record them.
    pub fn bases_of_image(
        &self,
        service: &ServiceName,
        inventory: &Inventory,
    ) -> Option<Vec<RecordedBase>> {
        let labels = self.existing(self.candidate(service)?, inventory).next()?;
        recorded_bases(labels, inventory)
    }

    /// Returns the base images that could not be compared with those that services track. They do not cause a build.
    pub fn unknown_bases(&self, inventory: &Inventory) -> Vec<UnknownBase> {
        let tracked = self.bases_of(inventory, |it| self.tracks_bases(it) && !self.refreshes(it));
        let unknown = tracked.into_iter().filter_map(|image| {
            let Some(Presence::Unknown(failure)) = inventory.bases.get(&image) else {
                return None;
            };
            let tracks = |candidate: &&PlanCandidate<'_>| {
                let mut labels = self.existing(candidate, inventory).filter_map(recorded);
                self.tracks_bases(candidate) && labels.any(|it| it.contains_key(&image))
            };
            let services = self.candidates.iter().filter(tracks);
            Some(UnknownBase {
                services: services.map(|it| it.service.name.clone()).collect(),
                why: failure.why.clone(),
                image,
            })
        });
        unknown.collect()
    }

    /// Returns whether a service is built if its base images moved, with `--refresh-bases`.
    pub(super) fn refreshes(&self, candidate: &PlanCandidate<'_>) -> bool {
        self.options.refresh_bases && candidate.selected && candidate.pinned.is_none()
    }

    /// Returns whether a service is built if its base images moved, with `docker.bases: track`. Builds in place need no
    /// network.
    pub(super) fn tracks_bases(&self, candidate: &PlanCandidate<'_>) -> bool {
        self.options.track_bases
            && !self.options.trust_commit
            && candidate.service.docker.bases == BaseTracking::Track
            && candidate.pinned.is_none()
            && !candidate.is_local
    }

    /// Returns which base images a service is built from.
    pub(super) fn base_use(&self, candidate: &PlanCandidate<'_>) -> BaseUse {
        let is_tracked = candidate.service.docker.bases == BaseTracking::Track;
        if self.options.refresh_bases {
            BaseUse::Refreshed
        } else if is_tracked && !candidate.is_local {
            BaseUse::Tracked
        } else {
            BaseUse::Recorded
        }
    }
}

impl fmt::Display for UnknownBase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let services: Vec<&str> = self.services.iter().map(ServiceName::as_str).collect();
        write!(
            f,
            "cannot tell whether the base image {} of {} moved, so it does not cause a build: {}",
            self.image.familiar_name(),
            services.join(", "),
            self.why
        )
    }
}

/// Returns the base images that labels record, with their states.
pub(super) fn recorded_bases(labels: &Labels, inventory: &Inventory) -> Option<Vec<RecordedBase>> {
    let bases = recorded(labels)?.into_iter();
    let bases = bases.map(|(image, digest)| RecordedBase {
        state: match inventory.bases.get(&image) {
            Some(Presence::Present(now)) if *now == digest => BaseState::Same,
            Some(Presence::Present(now)) => BaseState::Moved(now.clone()),
            Some(Presence::Absent) => BaseState::Absent,
            Some(Presence::Unknown(_)) | None => BaseState::Unknown,
        },
        image,
        digest,
    });
    Some(bases.collect())
}

/// Adds the base images that moved to the status of an image.
pub(super) fn with_moved(
    status: RecipeStatus,
    labels: Option<&Labels>,
    inventory: &Inventory,
) -> RecipeStatus {
    if matches!(status, RecipeStatus::Stale(_)) {
        return status;
    }
    let Some(bases) = labels.and_then(|labels| recorded_bases(labels, inventory)) else {
        return RecipeStatus::Stale(vec![RecipeChange::of_unknown_bases()]);
    };
    // An image that is in no registry cannot move.
    let is_moved = |base: &&RecordedBase| matches!(base.state, BaseState::Moved(_));
    let moved = bases.iter().filter(is_moved);
    let changes: Vec<RecipeChange> = moved
        .map(|base| RecipeChange::of_base(&base.image.familiar_name()))
        .collect();
    if changes.is_empty() {
        status
    } else {
        RecipeStatus::Stale(changes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(digit: char) -> Digest {
        format!("sha256:{}", digit.to_string().repeat(64))
            .parse()
            .unwrap()
    }

    fn base() -> ImageReference {
        "docker.io/alpine:3".parse().unwrap()
    }

    fn status_with(labels: &Labels, presence: Option<Presence>) -> String {
        let bases = presence.map(|presence| (base(), presence));
        let inventory = Inventory {
            bases: bases.into_iter().collect(),
            ..Inventory::default()
        };
        match with_moved(RecipeStatus::Verified, Some(labels), &inventory) {
            RecipeStatus::Stale(changes) => changes[0].to_string(),
            status => format!("{status:?}"),
        }
    }

    #[test]
    fn only_a_base_with_another_digest_is_moved() {
        let bases = BaseDigests::from([(base(), digest('a'))]);
        let labels = Labels::from([bases_label(Some(&bases))]);
        let present = |digit| Some(Presence::Present(digest(digit)));
        assert_eq!(status_with(&labels, present('a')), "Verified");
        assert_eq!(status_with(&labels, present('b')), "bases.alpine:3 moved");
        assert_eq!(status_with(&labels, Some(Presence::Absent)), "Verified");
        assert_eq!(status_with(&labels, None), "Verified");
        let text = "bases are not recorded";
        assert_eq!(status_with(&Labels::new(), present('a')), text);
        let unknown = Labels::from([bases_label(None)]);
        assert_eq!(status_with(&unknown, present('a')), text);
        let forged = Labels::from([(LABEL_BASES.to_owned(), "{\"\\u001b\":1}".to_owned())]);
        assert_eq!(status_with(&forged, present('a')), text);
        let none = Labels::from([bases_label(Some(&BaseDigests::new()))]);
        assert_eq!(status_with(&none, None), "Verified");
    }
}
