//! Which images of needed services an image was built from, and whether they are the ones that count.
//!
//! A recipe says which commits and inputs the needed images have. Two runners that build the same commit at the same
//! time make two images of one recipe, though, and what is built on one of them does not go with the other.

use std::collections::BTreeMap;

use super::compare::Comparison;
use super::draft::Candidate;
use crate::image::{ImageIds, Labels};
use crate::manifest::ServiceName;
use crate::recipe::{Change, LABEL_NEEDS, Standing};

/// The ids of needed images that an image's label holds, by service.
pub type NeededIds = BTreeMap<String, String>;

/// Reads the label of an image; `None` if it is missing or cannot be read.
pub fn needed_ids(labels: &Labels) -> Option<NeededIds> {
    serde_json::from_str(labels.get(LABEL_NEEDS)?).ok()
}

/// Compares the needed images that an image was built from with those that count, `earlier`.
///
/// A needed image of which nothing is known yet is left out: the recipe has its say.
pub(super) fn standing(
    candidate: &Candidate<'_>,
    labels: Option<&Labels>,
    earlier: &BTreeMap<ServiceName, Comparison>,
) -> Standing {
    let needs = candidate.service.needs.iter();
    let known: Vec<(&ServiceName, &ImageIds)> = needs
        .filter_map(|need| Some((need, earlier.get(need)?.ids.as_ref()?)))
        .collect();
    if known.is_empty() {
        return Standing::Verified;
    }
    let Some(built_from) = labels.and_then(needed_ids) else {
        return Standing::Unverified;
    };
    let mut changes = Vec::new();
    for (need, ids) in known {
        match built_from.get(need.as_str()) {
            Some(id) if ids.contains(id) => {}
            Some(_) => changes.push(Change::of_needed_image(need.as_str())),
            None => return Standing::Unverified,
        }
    }
    if changes.is_empty() {
        Standing::Verified
    } else {
        Standing::Stale(changes)
    }
}
