//! What is to be done, decided from what was found: pure, and complete.
//!
//! A plan is made in three steps, with an inspection between them:
//!
//! 1. [`Draft`]: which services are concerned, and which references have to be looked for;
//! 2. [`Decided`]: what is to be done with each service, and which builder images that takes;
//! 3. [`Plan`]: every step, with all that carrying it out needs to know.
//!
//! `execute/` carries out the steps and chooses nothing; `xp plan` prints the same steps.

mod builder;
mod built_from;
mod compare;
mod complete;
mod decide;
mod display;
mod document;
mod draft;
mod engine_images;
mod error;
mod inventory;
mod layout;
mod obstacle;
mod place;
mod recipe;
mod rival;
mod session;
mod step;
pub mod table;
#[cfg(test)]
mod tests;
mod transfer_refusal;
mod variant;
mod why;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

pub use builder::FolderBuilder;
pub use built_from::{NeededIds, needed_ids};
pub use compare::{Compared, Comparison, Sighting, Survey};
pub use decide::Decided;
pub use draft::Draft;
pub use error::{PlanError, UnknownImages, UnreadableRecipes};
pub use inventory::{Inventory, Presence, Refusal};
pub use layout::Layout;
pub use recipe::{Folders, TESTS};
pub use rival::{Rival, Wanted};
pub use session::{builder_image, builder_images, builder_plan};
pub use step::{
    ContainerStep, ExportStep, ImageStep, NeededImage, PushStep, ScriptStep, Step, SyncStep,
};
pub use transfer_refusal::TransferRefusal;
pub use variant::{ServiceImage, service_images};
pub use why::Explanation;

use crate::event::Unit;
use crate::image::{Digest, ImageReference, ImageRepository, Tag};
use crate::manifest::ServiceName;
use crate::recipe::{Change, Recipe};
use crate::source::{CommitId, Origin, RefName, ServiceSource, TreeDigest};

/// What the command line asks for, beyond the selection of services.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Build the selected services whatever exists.
    pub force: bool,
    /// Pull what the registry has and the engine has not.
    pub pull: bool,
    /// Push what is built.
    pub push: bool,
    /// Run `scripts.test`.
    pub test: bool,
    /// Take what is tagged with the commit, whatever it was built from.
    pub trust_commit: bool,
    /// Set the tags that move: the branch's, and those of the manifest.
    pub moving_tags: bool,
    /// Move them only once every unit of the plan succeeded.
    pub all_or_nothing: bool,
    /// Images that count as they are, by the digests that a lock names.
    pub pinned: BTreeMap<ServiceName, Pinned>,
    /// Further tags for each image.
    pub tags: Vec<Tag>,
    /// The branch of `--branch`: the topic train whose images are wanted.
    pub train: Option<RefName>,
}

/// An image that a lock names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pinned {
    /// Its tag: the commit's, or that of a variant.
    pub tag: Tag,
    /// What the tag has to name in the registry; none where the image has no registry.
    pub digest: Option<Digest>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            force: false,
            pull: true,
            push: true,
            test: true,
            trust_commit: false,
            moving_tags: true,
            all_or_nothing: false,
            pinned: BTreeMap::new(),
            tags: Vec::new(),
            train: None,
        }
    }
}

/// What is to be done with an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Nothing: everything is in place.
    Skip,
    /// It is in place; a tag is set.
    Tag,
    /// The registry has it, the engine gets it.
    Pull,
    /// The engine has it, the registry gets it.
    Push,
    /// It is built.
    Build,
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Skip => "skip",
            Self::Tag => "tag",
            Self::Pull => "pull",
            Self::Push => "push",
            Self::Build => "build",
        })
    }
}

/// What is to be done with one service or one builder image.
#[derive(Debug, Clone, PartialEq)]
pub struct UnitPlan {
    /// Which.
    pub unit: Unit,
    /// The commit of a service; none for a builder image.
    pub commit: Option<CommitId>,
    /// What a service is built from, and who said so; none for a builder image.
    pub source: Option<ServiceSource>,
    /// The image by its commit, or by its content.
    pub image: ImageReference,
    /// What is done.
    pub decision: Decision,
    /// Why.
    pub reason: String,
    /// The inputs of the build that are not what they were for the image that exists.
    pub changes: Vec<Change>,
    /// What the image of a service is built from today; none where nothing depends on it.
    pub recipe: Option<Recipe>,
    /// The units of the plan that must be done first.
    pub after: Vec<Unit>,
    /// The steps, in order; none where everything is in place.
    pub steps: Vec<Step>,
    /// How many of the steps, at the end, wait until every unit of the plan has done all others: the moves of tags,
    /// with `--all-or-nothing`.
    pub held: usize,
    /// For the scripts and the image build together.
    pub timeout: Option<Duration>,
    /// The working copy that it is built in, if it is.
    pub in_place: Option<InPlace>,
}

/// A working copy that a unit is built in; no other unit may work there meanwhile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InPlace {
    /// The folder.
    pub dir: PathBuf,
    /// The folders and files below it that count; none where the whole does.
    pub paths: Vec<String>,
    /// What its image's tag says of its changes.
    pub changes: Option<TreeDigest>,
}

/// Everything that is to be done, each unit after those that it needs.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    /// The builder images first, then the services.
    pub units: Vec<UnitPlan>,
    /// The topic train, where one was asked for.
    pub train: Option<Train>,
}

/// A topic train: a branch that some of the services have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Train {
    /// The branch.
    pub branch: RefName,
    /// How many services are built from it.
    pub on_it: usize,
    /// How many services there are, the needed ones included.
    pub services: usize,
}

impl fmt::Display for Train {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            branch,
            on_it,
            services,
        } = self;
        write!(f, "On {branch}: {on_it} of {services} services.")
    }
}

impl UnitPlan {
    /// Returns the steps that are carried out as soon as possible.
    pub fn first_steps(&self) -> &[Step] {
        &self.steps[..self.steps.len().saturating_sub(self.held)]
    }

    /// Returns the steps that wait until every unit succeeded.
    pub fn held_steps(&self) -> &[Step] {
        &self.steps[self.first_steps().len()..]
    }

    /// Returns the tags of the registry that these steps move, without that of the commit.
    pub fn moved_tags(&self) -> impl Iterator<Item = &Tag> {
        let tags = self.steps.iter().flat_map(|step| match step {
            Step::RegistryTag { tags, .. } => tags.as_slice(),
            _ => &[],
        });
        tags.filter(|tag| tag.named_commit().is_none())
    }

    /// Returns the short name of the branch or tag that a service is built from; `-` where there is none.
    pub fn reference(&self) -> &str {
        let source = self.source.as_ref();
        source.and_then(ServiceSource::short_name).unwrap_or("-")
    }
}

impl Plan {
    /// Returns the units that have steps.
    pub fn work(&self) -> impl Iterator<Item = &UnitPlan> {
        self.units.iter().filter(|unit| !unit.steps.is_empty())
    }

    /// Tells whether a reader has to know what each service is built from: not all of it is in the manifest.
    pub fn shows_references(&self) -> bool {
        let mut sources = self.units.iter().filter_map(|unit| unit.source.as_ref());
        self.train.is_some() || sources.any(|source| source.origin != Origin::Manifest)
    }

    /// Tells whether anything is built, pushed or tagged; what is only pulled exists already.
    pub fn makes_something(&self) -> bool {
        let makes = |step: &Step| {
            matches!(
                step,
                Step::Image(_) | Step::Push(_) | Step::RegistryTag { .. }
            )
        };
        self.work()
            .any(|unit| unit.decision == Decision::Tag || unit.steps.iter().any(makes))
    }

    /// Returns the repositories of registries that get images which are built first: worth to be asked, before
    /// the work is done, whether they take them. What exists already is pushed at once, and only tells by that.
    pub fn built_for(&self) -> BTreeSet<ImageRepository> {
        let builds = |unit: &&UnitPlan| unit.steps.iter().any(|it| matches!(it, Step::Image(_)));
        let pushed = self
            .work()
            .filter(builds)
            .flat_map(|unit| &unit.steps)
            .filter_map(|step| match step {
                Step::Push(step) => Some(step.image.repository().clone()),
                _ => None,
            });
        pushed.filter(|it| it.registry().is_some()).collect()
    }

    /// Tells whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.work().next().is_none()
    }
}
