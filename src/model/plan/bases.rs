//! Compares the base images that an image was built from with those in their registries, for `--refresh-bases`.

use std::collections::{BTreeMap, BTreeSet};

use super::draft::{PlanCandidate, PlanDraft};
use super::{Inventory, Presence};
use crate::model::image::{Digest, ImageReference, Labels};
use crate::model::recipe::{LABEL_BASES, RecipeChange, RecipeStatus};

/// The digests of base images and of the external builder image, by name with registry and tag.
pub type BaseDigests = BTreeMap<ImageReference, Digest>;

/// Returns the label that records base images.
pub fn bases_label(bases: &BaseDigests) -> (String, String) {
    let entries = bases.iter();
    let entries: BTreeMap<String, &str> = entries
        .map(|(name, digest)| (name.to_string(), digest.as_str()))
        .collect();
    let text = serde_json::to_string(&entries).unwrap_or_default();
    (LABEL_BASES.to_owned(), text)
}

/// Reads the label; `None` if it is missing or cannot be read.
fn recorded(labels: &Labels) -> Option<BaseDigests> {
    let entries: BTreeMap<String, String> = serde_json::from_str(labels.get(LABEL_BASES)?).ok()?;
    let entries = entries.into_iter();
    let parsed = entries.map(|(name, digest)| Some((name.parse().ok()?, digest.parse().ok()?)));
    parsed.collect()
}

impl PlanDraft<'_> {
    /// Returns the base images to query in their registries: those of the selected services' existing images, with
    /// `--refresh-bases`.
    pub fn bases(&self, inventory: &Inventory) -> BTreeSet<ImageReference> {
        let refreshed = self.candidates.iter().filter(|it| self.refreshes(it));
        let labels = refreshed.flat_map(|candidate| {
            let in_engine = inventory.in_engine(&candidate.image);
            let in_registry = self.published_labels(candidate, inventory);
            in_engine
                .map(|image| &image.labels)
                .into_iter()
                .chain(in_registry)
        });
        let bases = labels.filter_map(recorded).flat_map(BTreeMap::into_keys);
        bases
            .filter(|base| !inventory.bases.contains_key(base))
            .collect()
    }

    /// Returns whether a service is built if its base images moved.
    pub(super) fn refreshes(&self, candidate: &PlanCandidate<'_>) -> bool {
        self.options.refresh_bases && candidate.selected && candidate.pinned.is_none()
    }
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
    let Some(bases) = labels.and_then(recorded) else {
        return RecipeStatus::Stale(vec![RecipeChange::of_unknown_bases()]);
    };
    // An image that is in no registry cannot move.
    let is_moved = |(base, digest): &(&ImageReference, &Digest)| matches!(inventory.bases.get(base), Some(Presence::Present(now)) if now != *digest);
    let moved = bases.iter().filter(is_moved);
    let changes: Vec<RecipeChange> = moved
        .map(|(base, _)| RecipeChange::of_base(&base.familiar_name()))
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
        let labels = Labels::from([bases_label(&BaseDigests::from([(base(), digest('a'))]))]);
        let present = |digit| Some(Presence::Present(digest(digit)));
        assert_eq!(status_with(&labels, present('a')), "Verified");
        assert_eq!(status_with(&labels, present('b')), "bases.alpine:3 moved");
        assert_eq!(status_with(&labels, Some(Presence::Absent)), "Verified");
        assert_eq!(status_with(&labels, None), "Verified");
        let text = "bases are not recorded";
        assert_eq!(status_with(&Labels::new(), present('a')), text);
        let forged = Labels::from([(LABEL_BASES.to_owned(), "{\"\\u001b\":1}".to_owned())]);
        assert_eq!(status_with(&forged, present('a')), text);
        let none = Labels::from([bases_label(&BaseDigests::new())]);
        assert_eq!(status_with(&none, None), "Verified");
    }
}
