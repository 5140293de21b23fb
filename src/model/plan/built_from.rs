//! Compares the images of needed services that an image was built from with the current ones.
//!
//! A recipe records the commits and inputs of the needed images. That is not enough: two runners that build the same
//! commit at the same time make two images with one recipe, and an image built on one of them does not match the other.

use std::collections::BTreeMap;

use super::compare::ImageComparison;
use super::draft::PlanCandidate;
use super::former_names::FormerNames;
use crate::model::image::{ImageIds, Labels};
use crate::model::manifest::ServiceName;
use crate::model::recipe::{LABEL_NEEDED_IMAGES, RecipeChange, RecipeStatus};

/// The IDs of needed images from an image's label, by service.
pub type NeededIds = BTreeMap<String, String>;

/// Reads the label of an image; `None` if it is missing or cannot be read.
pub fn needed_ids(labels: &Labels) -> Option<NeededIds> {
    serde_json::from_str(labels.get(LABEL_NEEDED_IMAGES)?).ok()
}

/// Compares the needed images that an image was built from with the current ones in `earlier`.
///
/// `former` has the names of needed services that the image was built with, if they differ from the current ones.
/// Needed images with unknown IDs are skipped: for them, only the recipe is compared.
pub(super) fn recipe_status(
    candidate: &PlanCandidate<'_>,
    labels: Option<&Labels>,
    former: &FormerNames,
    earlier: &BTreeMap<ServiceName, ImageComparison>,
) -> RecipeStatus {
    let needs = candidate.service.needs.iter();
    let known: Vec<(&ServiceName, &ImageIds)> = needs
        .filter_map(|need| Some((need, earlier.get(need)?.ids.as_ref()?)))
        .collect();
    if known.is_empty() {
        return RecipeStatus::Verified;
    }
    let Some(built_from) = labels.and_then(needed_ids) else {
        return RecipeStatus::Unverified;
    };
    let mut changes = Vec::new();
    for (need, ids) in known {
        let name = former.get(need).map_or(need.as_str(), String::as_str);
        match built_from.get(name) {
            Some(id) if ids.contains(id) => {}
            Some(_) => changes.push(RecipeChange::of_needed_image(need.as_str())),
            None => return RecipeStatus::Unverified,
        }
    }
    if changes.is_empty() {
        RecipeStatus::Verified
    } else {
        RecipeStatus::Stale(changes)
    }
}
