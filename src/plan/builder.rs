//! What is done with builder images.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::{Decision, ImageStep, Inventory, Presence, Step, UnitPlan};
use crate::event::Unit;
use crate::image::{ImageReference, Tag};
use crate::recipe::ContentId;

/// The tag that every build of a builder image moves.
const NEWEST: &str = "newest";

/// A builder image that is made from a folder of the platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FolderBuilder {
    /// The folder, absolute.
    pub folder: PathBuf,
    /// What is in it.
    pub content: ContentId,
    /// The image by its content.
    pub image: ImageReference,
    /// The build arguments.
    pub args: BTreeMap<String, String>,
}

impl FolderBuilder {
    /// Returns what is to be done so that the image exists, in the engine too.
    pub fn plan(
        &self,
        unit: Unit,
        inventory: &Inventory,
        registry: Option<&Presence>,
        force: bool,
        push: bool,
    ) -> UnitPlan {
        let image = self.image.clone();
        let newest: Option<Tag> = NEWEST.parse().ok();
        let has_registry = image.repository().registry().is_some();
        let (decision, reason) = if force {
            (Decision::Build, "asked for".to_owned())
        } else if inventory.in_engine(&image).is_some() {
            match registry {
                // An earlier push failed, or was not allowed: others would build it again.
                Some(Presence::Absent) if push => (
                    Decision::Push,
                    "in the engine, not in the registry".to_owned(),
                ),
                _ => (Decision::Skip, "in the engine".to_owned()),
            }
        } else if matches!(registry, Some(Presence::Present(_))) {
            (
                Decision::Pull,
                "in the registry, not in the engine".to_owned(),
            )
        } else {
            (
                Decision::Build,
                format!("no image of its content {}", self.content.short()),
            )
        };
        let steps = match decision {
            Decision::Pull => vec![Step::Pull {
                image: image.clone(),
                digest: None,
            }],
            Decision::Push => publish(&image, newest),
            Decision::Build => {
                let newest_name = newest.clone().map(|tag| image.repository().tagged(tag));
                let mut steps = vec![Step::Image(Box::new(ImageStep {
                    root: self.folder.clone(),
                    context: self.folder.clone(),
                    left_out: None,
                    dockerfile: self.folder.join("Dockerfile"),
                    target: None,
                    args: self.args.clone(),
                    args_by_hand: BTreeMap::new(),
                    secrets: BTreeMap::new(),
                    ssh: false,
                    labels: BTreeMap::new(),
                    commit_time: None,
                    fresh: force,
                    names: std::iter::once(image.clone()).chain(newest_name).collect(),
                }))];
                if has_registry && push {
                    steps.extend(publish(&image, newest));
                }
                steps
            }
            Decision::Skip | Decision::Tag => Vec::new(),
        };
        UnitPlan {
            unit,
            commit: None,
            source: None,
            image,
            decision,
            reason,
            changes: Vec::new(),
            recipe: None,
            after: Vec::new(),
            steps,
            timeout: None,
            in_place: None,
        }
    }
}

/// Returns the steps that bring a builder image of the engine into its registry.
fn publish(image: &ImageReference, newest: Option<Tag>) -> Vec<Step> {
    let tags = newest.into_iter().collect();
    vec![
        Step::Push {
            image: image.clone(),
            replaces: None,
        },
        Step::RegistryTag {
            image: image.clone(),
            tags,
        },
    ]
}

pub(super) fn external_plan(image: &ImageReference, inventory: &Inventory) -> UnitPlan {
    let (decision, reason, steps) = match inventory.in_engine(image) {
        Some(_) => (Decision::Skip, "in the engine", Vec::new()),
        None => (
            Decision::Pull,
            "not in the engine",
            vec![Step::Pull {
                image: image.clone(),
                digest: None,
            }],
        ),
    };
    UnitPlan {
        unit: Unit::External(image.clone()),
        commit: None,
        source: None,
        image: image.clone(),
        decision,
        reason: reason.to_owned(),
        changes: Vec::new(),
        recipe: None,
        after: Vec::new(),
        steps,
        timeout: None,
        in_place: None,
    }
}
