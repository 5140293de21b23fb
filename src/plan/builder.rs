//! What is done with builder images.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::{Decision, ImageStep, Inventory, Presence, PushStep, Rival, Step, UnitPlan, Wanted};
use crate::event::Unit;
use crate::image::{Digest, ImageQuery, ImageReference, Tag};
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
    /// Returns the name that every build of the image moves.
    pub fn newest(&self) -> Option<ImageReference> {
        let tag: Tag = NEWEST.parse().ok()?;
        Some(self.image.repository().tagged(tag))
    }

    /// Returns what the engine is asked for.
    pub fn engine_images(&self) -> Vec<ImageQuery> {
        let image = std::iter::once(self.image.clone());
        image.chain(self.newest()).map(ImageQuery::from).collect()
    }

    /// Returns whether the engine has the image by its content, and what the registry has by that name is another
    /// build of it. The registry's counts: everybody builds with one toolchain.
    pub fn is_other_build(
        &self,
        inventory: &Inventory,
        registries: &BTreeMap<ImageReference, Presence>,
    ) -> bool {
        let Some(Presence::Present(digest)) = registries.get(&self.image) else {
            return false;
        };
        let by_digest = self.image.repository().with_digest(digest.clone());
        let id = |image| inventory.in_engine(image).map(|found| &found.id);
        id(&self.image).is_some_and(|engines| id(&by_digest) != Some(engines))
    }

    /// Returns what is to be done so that the image exists, in the engine too.
    ///
    /// `registries` is what they have of the image and of [`FolderBuilder::newest`], where they were asked.
    pub fn plan(
        &self,
        unit: Unit,
        inventory: &Inventory,
        registries: &BTreeMap<ImageReference, Presence>,
        force: bool,
        push: bool,
    ) -> UnitPlan {
        let image = self.image.clone();
        let newest = self.newest();
        let registry = registries.get(&image);
        let has_registry = image.repository().registry().is_some();
        let digest = match registry {
            Some(Presence::Present(digest)) => Some(digest.clone()),
            _ => None,
        };
        let is_other_build = self.is_other_build(inventory, registries);
        let (decision, reason) = if force {
            (Decision::Build, "asked for".to_owned())
        } else if is_other_build {
            (
                Decision::Pull,
                "in the registry; the engine's is another build of the same content".to_owned(),
            )
        } else if inventory.in_engine(&image).is_some() {
            match registry {
                // An earlier push failed, or was not allowed: others would build it again.
                Some(Presence::Absent) if push => (
                    Decision::Push,
                    "in the engine, not in the registry".to_owned(),
                ),
                _ => (Decision::Skip, "in the engine".to_owned()),
            }
        } else if digest.is_some() {
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
        // A run that was killed may have left the image without the name. One that names another image stays:
        // that may be of a later state of the folder than the one here.
        // What is replaced leaves no name behind.
        let replaced = inventory.in_engine(&image).filter(|_| is_other_build);
        let without_name = newest.iter().filter(|it| {
            let named = inventory.in_engine(it);
            named.is_none_or(|named| replaced.is_some_and(|replaced| named.id == replaced.id))
        });
        let in_engine: Vec<ImageReference> = without_name.cloned().collect();
        let without_tag = newest
            .iter()
            .filter(|it| push && registries.get(it) == Some(&Presence::Absent));
        let in_registry: Vec<Tag> = without_tag.filter_map(|it| it.tag().cloned()).collect();
        let tag_engine = |names: Vec<ImageReference>| {
            let image = image.clone();
            (!names.is_empty()).then_some(Step::EngineTag { image, names })
        };
        let (decision, reason) = match decision {
            Decision::Skip if !(in_engine.is_empty() && in_registry.is_empty()) => {
                (Decision::Tag, format!("{reason}; to set: {NEWEST}"))
            }
            decision => (decision, reason),
        };
        let steps = match decision {
            Decision::Pull => {
                let pull = Step::Pull {
                    image: image.clone(),
                    digest,
                };
                std::iter::once(pull).chain(tag_engine(in_engine)).collect()
            }
            Decision::Tag => {
                let in_registry = (!in_registry.is_empty()).then(|| Step::RegistryTag {
                    image: image.clone(),
                    tags: in_registry,
                });
                tag_engine(in_engine)
                    .into_iter()
                    .chain(in_registry)
                    .collect()
            }
            Decision::Push => {
                let names = newest.iter().cloned().collect();
                let tagged = tag_engine(names).into_iter();
                tagged.chain(publish(&image, newest, None)).collect()
            }
            Decision::Build => {
                let names = std::iter::once(image.clone()).chain(newest.clone());
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
                    names: names.collect(),
                    needs: Vec::new(),
                }))];
                if has_registry && push {
                    steps.extend(publish(&image, newest, digest));
                }
                steps
            }
            Decision::Skip => Vec::new(),
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
            held: 0,
            in_place: None,
        }
    }
}

/// Returns the steps that bring a builder image of the engine into its registry, where `replaces` is the one that
/// an update replaces: any other one was pushed meanwhile, and is taken.
fn publish(
    image: &ImageReference,
    newest: Option<ImageReference>,
    replaces: Option<Digest>,
) -> Vec<Step> {
    let tags = newest.iter().filter_map(|name| name.tag().cloned());
    let tags = tags.collect();
    vec![
        Step::Push(Box::new(PushStep {
            image: image.clone(),
            replaces,
            identity: None,
            inconsistent: None,
            force: false,
            rival: Rival {
                names: newest.into_iter().collect(),
                wanted: Wanted::Any,
            },
            needs: Vec::new(),
        })),
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
        held: 0,
        in_place: None,
    }
}
