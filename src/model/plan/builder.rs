//! Plans for builder images.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::{
    BaseUse, ConcurrentPush, Decision, Equivalence, ImageNames, ImageStep, Inventory, Presence,
    PushStep, Step, UnitPlan,
};
use crate::model::event::Unit;
use crate::model::image::{Digest, ImageQuery, ImageReference, Tag};
use crate::model::recipe::ContentId;
use crate::model::source::PathSelection;

/// The tag that every build of a builder image moves.
const NEWEST: &str = "newest";

/// A builder image that is built from a folder of the platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FolderBuilder {
    /// The folder, absolute.
    pub folder: PathBuf,
    /// The ID of its content.
    pub content: ContentId,
    /// The image, tagged with its content.
    pub image: ImageReference,
    /// The build arguments.
    pub args: BTreeMap<String, String>,
    /// The label in its Dockerfile that describes it as a plugin.
    pub plugin: Option<String>,
}

/// How builder images are built.
#[derive(Debug, Clone, Copy, Default)]
pub struct BuilderMode {
    /// Build them even if they exist, without the engine's build cache.
    pub force: bool,
    pub push: bool,
    /// Pull their base images again.
    pub refresh_bases: bool,
    /// Whether a fleet builds them, and pulls them where they are used.
    pub is_on_fleet: bool,
}

impl FolderBuilder {
    /// Returns the name with the moving tag.
    pub fn newest(&self) -> Option<ImageReference> {
        let tag: Tag = NEWEST.parse().ok()?;
        Some(self.image.repository().tagged(tag))
    }

    /// Returns the images to query in the engine.
    pub fn engine_images(&self) -> Vec<ImageQuery> {
        let image = std::iter::once(self.image.clone());
        image.chain(self.newest()).map(ImageQuery::from).collect()
    }

    /// Returns whether the engine's image differs from the registry's image with the same content. The registry's takes
    /// precedence, so that everyone builds with the same toolchain.
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

    /// Returns the step that builds the image.
    pub(super) fn image_step(&self, names: Vec<ImageReference>) -> ImageStep {
        ImageStep {
            root: self.folder.clone(),
            folder: self.folder.clone(),
            context: self.folder.clone(),
            selected: PathSelection::default(),
            excluded: None,
            dockerfile: self.folder.join("Dockerfile"),
            target: None,
            args: self.args.clone(),
            args_for_shell: BTreeMap::new(),
            secrets: BTreeMap::new(),
            ssh: false,
            platform: None,
            engine: None,
            labels: BTreeMap::new(),
            commit_time: None,
            fresh: false,
            layers: None,
            bases: BaseUse::Unrecorded,
            builders: Vec::new(),
            names,
            is_verified: false,
            needs: Vec::new(),
        }
    }

    /// Plans what is needed to have the image in the engine.
    ///
    /// `registries` has the responses for the image and for [`FolderBuilder::newest`], if they were queried.
    pub fn plan(
        &self,
        unit: Unit,
        inventory: &Inventory,
        registries: &BTreeMap<ImageReference, Presence>,
        mode: BuilderMode,
    ) -> UnitPlan {
        let BuilderMode {
            force,
            push,
            refresh_bases,
            is_on_fleet,
        } = mode;
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
            (Decision::Build, "requested".to_owned())
        } else if is_other_build {
            (
                Decision::Pull,
                "in the registry; the engine has another build of the same content".to_owned(),
            )
        } else if inventory.in_engine(&image).is_some() {
            match registry {
                // An earlier push failed or was not allowed. Without a push, others would rebuild the image.
                Some(Presence::Absent) if push => (
                    Decision::Push,
                    "in the engine, not in the registry".to_owned(),
                ),
                _ => (Decision::Skip, "in the engine".to_owned()),
            }
        } else if digest.is_some() && is_on_fleet {
            (Decision::Skip, "in the registry".to_owned())
        } else if digest.is_some() {
            (
                Decision::Pull,
                "in the registry, not in the engine".to_owned(),
            )
        } else {
            (
                Decision::Build,
                format!("no image with content {}", self.content.short()),
            )
        };
        // A killed run may have left the image without the moving tag. If the tag is on another image, leave it: that
        // image may be from a later state of the folder. Unless that other image is the one being replaced.
        let replaced = inventory.in_engine(&image).filter(|_| is_other_build);
        let without_name = newest.iter().filter(|it| {
            if is_on_fleet {
                return false;
            }
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
                (Decision::Tag, format!("{reason}; tags to update: {NEWEST}"))
            }
            decision => (decision, reason),
        };
        let is_made = matches!(decision, Decision::Build | Decision::Push);
        let id = |image: &ImageReference| inventory.in_engine(image).map(|found| &found.id);
        let is_newest =
            |it: &&ImageReference| is_made || in_engine.contains(it) || id(it) == id(&image);
        let named = std::iter::once(&image).chain(newest.iter().filter(is_newest));
        let names = ImageNames {
            digest: digest.clone().filter(|_| !is_made),
            tags: named.filter_map(|name| name.tag().cloned()).collect(),
            identity: None,
        };
        let steps = match decision {
            Decision::Pull => {
                let pull = Step::Pull {
                    image: image.clone(),
                    digest,
                    if_missing: false,
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
                let mut step = self.image_step(names.collect());
                step.fresh = force;
                if refresh_bases {
                    step.bases = BaseUse::Refreshed;
                }
                let mut steps = vec![Step::Image(Box::new(step))];
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
            names,
            decision,
            reason,
            changes: Vec::new(),
            recipe: None,
            after: Vec::new(),
            phases: Vec::new(),
            steps,
            timeout: None,
            held: 0,
            in_place: None,
            remote: None,
        }
    }
}

/// Returns the steps that push a builder image. `replaces` is the image that an update replaces; any other image was
/// pushed in the meantime and is used instead.
fn publish(
    image: &ImageReference,
    newest: Option<ImageReference>,
    replaces: Option<Digest>,
) -> Vec<Step> {
    let tags = newest.iter().filter_map(|name| name.tag().cloned());
    let tags = tags.collect();
    vec![
        Step::Push(Box::new(PushStep {
            rejected: Vec::new(),
            image: image.clone(),
            replaces,
            identity: None,
            inconsistent: None,
            force: false,
            index: None,
            concurrent: ConcurrentPush {
                names: newest.into_iter().collect(),
                wanted: Equivalence::Any,
            },
            needs: Vec::new(),
        })),
        Step::RegistryTag {
            image: image.clone(),
            tags,
        },
    ]
}

/// Plans an external builder image; `registry` is the response of its registry, if it was queried for a newer image.
pub(super) fn external_plan(
    image: &ImageReference,
    inventory: &Inventory,
    registry: Option<&Presence>,
    is_on_fleet: bool,
) -> UnitPlan {
    let newest = match registry {
        Some(Presence::Present(digest)) => Some(digest.clone()),
        _ => None,
    };
    let is_newest = newest.as_ref().is_none_or(|digest| {
        let by_digest = image.repository().with_digest(digest.clone());
        let newest = inventory.in_engine(&by_digest).map(|found| &found.id);
        newest.is_some() && newest == inventory.in_engine(image).map(|found| &found.id)
    });
    let pull = |reason| {
        let pull = Step::Pull {
            image: image.clone(),
            digest: newest.clone(),
            if_missing: false,
        };
        (Decision::Pull, reason, vec![pull])
    };
    let (decision, reason, steps) = match inventory.in_engine(image) {
        _ if is_on_fleet => (Decision::Skip, "pulled where it is used", Vec::new()),
        Some(_) if is_newest => (Decision::Skip, "in the engine", Vec::new()),
        Some(_) => pull("moved in its registry"),
        None => pull("not in the engine"),
    };
    UnitPlan {
        unit: Unit::External(image.clone()),
        commit: None,
        source: None,
        image: image.clone(),
        names: ImageNames {
            digest: image.digest().cloned(),
            tags: image.tag().cloned().into_iter().collect(),
            identity: None,
        },
        decision,
        reason: reason.to_owned(),
        changes: Vec::new(),
        recipe: None,
        after: Vec::new(),
        phases: Vec::new(),
        steps,
        timeout: None,
        held: 0,
        in_place: None,
        remote: None,
    }
}
