//! The planner: decides what to do with each service, based on the inventory. Pure.
//!
//! Planning has three stages, with queries to registries and the engine in between:
//!
//! 1. [`PlanDraft`]: the affected services and the image references to query;
//! 2. [`Decided`]: the decision for each service and the builder images it requires;
//! 3. [`Plan`]: all steps, with everything needed to run them.
//!
//! `execute/` runs the steps and makes no decisions; `xp plan` prints the same steps.

mod bases;
mod build_dir;
mod builder;
mod built_from;
mod compare;
mod complete;
pub mod concurrent_push;
pub mod copy;
mod decide;
mod decision_errors;
mod display;
mod document;
mod draft;
mod engine_images;
mod error;
mod explain;
mod former_names;
mod image_names;
mod image_steps;
mod inventory;
mod matrix;
mod other_names;
mod parallel;
mod part;
mod phase_key;
mod phases;
mod platforms;
mod plugins;
mod publishing;
mod recipe;
mod remote;
mod script_inputs;
mod scripts;
mod sent;
mod service_plan;
mod session;
mod sidecars;
mod staged;
mod step;
mod supply;
#[cfg(test)]
mod tests;
mod toolchains;
mod transfer_refusal;
mod variant;
mod wait;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use crate::model::plan::concurrent_push::{ConcurrentPush, Equivalence};
pub use bases::{BaseDigests, BaseState, RecordedBase, bases_label};
pub use builder::{BuilderMode, FolderBuilder};
pub use built_from::needed_ids;
pub use compare::{ComparisonResults, ImageLookup, PartialComparison};
pub use decide::Decided;
pub use display::Detail;
use draft::PlanCandidate;
pub use draft::PlanDraft;
pub use error::{PlanError, UnknownImages, UnreadableRecipes};
pub use image_names::ImageNames;
pub use inventory::{Inventory, Presence, QueryFailure};
pub use matrix::Matrix;
pub use part::{AwaitStep, Part, UnsharedImage};
pub use phases::{FoundResult, InputsQuery, PhasePlan, ResultQuery, StagedInputs, StepResults};
pub use platforms::{IndexSource, IndexStep};
pub(crate) use plugins::{folder_problems, source_problems};
pub use recipe::Folders;
pub use remote::RemotePart;
use sent::SentUnit;
pub use session::{builder_image, builder_images, builder_plan};
pub use step::{
    BaseUse, ContainerStep, ExportStep, FetchStep, ImageStep, KeepStep, NeededImage, PlaceStep,
    PlannedImage, PlannedSidecar, PluginCall, PluginStep, PushStep, RestoreStep, SavedResult,
    ScriptStep, SidecarsStep, StageStep, Step, SyncStep,
};
pub use supply::{
    ImageToVerify, LastAttachment, ProvenanceStep, SbomStep, SignStep, UncertainImage,
};
pub use toolchains::ToolchainStep;
pub use transfer_refusal::TransferRefusal;
pub use variant::{ServiceImage, service_images};
pub use wait::{Milestone, Occupied, UsableFrom, Wait};

use crate::model::event::Unit;
use crate::model::image::{Digest, ImageReference, ImageRepository, Tag};
use crate::model::manifest::ServiceName;
use crate::model::recipe::{Recipe, RecipeChange};
use crate::model::source::{
    CommitId, PathSelection, RefName, ReferenceOrigin, ServiceSource, TreeDigest,
};

/// Build options from the command line, apart from the selection of services.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Build the selected services even if their images exist.
    pub force: bool,
    /// Build the selected services without the engine's build cache; implies `force`.
    pub no_cache: bool,
    /// Pull base images again, and build selected services whose base images moved.
    pub refresh_bases: bool,
    /// Build services with `docker.bases: track` whose base images moved.
    pub track_bases: bool,
    /// Pull images that the registry has and the engine lacks.
    pub pull: bool,
    /// Push the images that are built.
    pub push: bool,
    /// Run `scripts.test`.
    pub test: bool,
    /// Restore results of phases with `inputs` instead of running them.
    pub restore: bool,
    /// Accept images by their commit tag, regardless of their inputs.
    pub trust_commit: bool,
    /// Set moving tags: the branch's and those of the manifest.
    pub moving_tags: bool,
    /// Set moving tags only after every unit of the plan succeeded.
    pub all_or_nothing: bool,
    /// Pinned images, by the digests in a lock.
    pub pinned: BTreeMap<ServiceName, Pinned>,
    /// Additional tags for each image.
    pub tags: Vec<Tag>,
    /// The branch of `--branch`: the topic train to build.
    pub train: Option<RefName>,
    /// The part to carry out, if other runs build the others.
    pub part: Option<Part>,
    /// The fleet that builds, instead of the engine.
    pub fleet: Option<String>,
}

/// The image of a service in a lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pinned {
    /// Its tag: the commit, or a variant of it.
    pub tag: Tag,
    /// The digest that the registry must have; `None` if the image has no registry.
    pub digest: Option<Digest>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            force: false,
            no_cache: false,
            refresh_bases: false,
            track_bases: false,
            pull: true,
            push: true,
            test: true,
            restore: true,
            trust_commit: false,
            moving_tags: true,
            all_or_nothing: false,
            pinned: BTreeMap::new(),
            tags: Vec::new(),
            train: None,
            part: None,
            fleet: None,
        }
    }
}

/// The action for an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Nothing to do.
    Skip,
    /// The image exists; set tags.
    Tag,
    /// Pull it from the registry into the engine.
    Pull,
    /// Push it from the engine to the registry.
    Push,
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

/// The plan for one service or builder image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(into = "SentUnit", from = "SentUnit")]
pub struct UnitPlan {
    pub unit: Unit,
    /// The commit of a service; `None` for a builder image.
    pub commit: Option<CommitId>,
    /// The source of a service and its origin; `None` for a builder image.
    pub source: Option<ServiceSource>,
    /// The image, tagged with its commit or content.
    pub image: ImageReference,
    /// Its digest and tags.
    pub names: ImageNames,
    pub decision: Decision,
    /// The reason, human-readable.
    pub reason: String,
    /// The build inputs that differ from those of the existing image.
    pub changes: Vec<RecipeChange>,
    /// The current recipe of a service; `None` if nothing depends on it.
    pub recipe: Option<Recipe>,
    /// The units that it uses; see [`UnitPlan::waits`] for the steps that wait for them.
    pub after: Vec<Unit>,
    /// The phases with `inputs`, if the service is built from a commit.
    pub phases: Vec<PhasePlan>,
    /// The steps, in order; empty if there is nothing to do.
    pub steps: Vec<Step>,
    /// How many of the last steps wait until all units have finished the others: with `--all-or-nothing`, those that
    /// move tags.
    pub held: usize,
    /// The combined timeout for scripts and image build.
    pub timeout: Option<Duration>,
    /// The working copy, if the unit is built in place.
    pub in_place: Option<InPlace>,
    /// The part of the steps that runs on a fleet.
    pub remote: Option<RemotePart>,
}

/// A working copy in which a unit is built. No other unit may use it at the same time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InPlace {
    pub dir: PathBuf,
    /// The relevant files in it.
    pub selection: PathSelection,
    /// Whether it is a git working copy; otherwise, all of its files count as changes.
    pub is_git: bool,
    /// The digest of its changes, as in the image's tag.
    pub changes: Option<TreeDigest>,
}

/// All units, each one after those that it needs.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    /// The builder images first, then the services.
    pub units: Vec<UnitPlan>,
    /// The topic train, if one was requested.
    pub train: Option<Train>,
}

/// A topic train: a branch that some of the services have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Train {
    pub branch: RefName,
    /// How many services are built from it.
    pub services_on_branch: usize,
    /// The number of services, including the needed ones.
    pub services: usize,
}

impl fmt::Display for Train {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            branch,
            services_on_branch,
            services,
        } = self;
        write!(
            f,
            "On {branch}: {services_on_branch} of {services} services."
        )
    }
}

impl UnitPlan {
    /// Returns the steps that run as soon as possible.
    pub fn first_steps(&self) -> &[Step] {
        &self.steps[..self.steps.len().saturating_sub(self.held)]
    }

    /// Returns the steps that wait until every unit has succeeded.
    pub fn held_steps(&self) -> &[Step] {
        &self.steps[self.first_steps().len()..]
    }

    /// Returns the registry tags that the steps move, except commit tags.
    pub fn moved_tags(&self) -> impl Iterator<Item = &Tag> {
        let tags = self.steps.iter().flat_map(|step| match step {
            Step::RegistryTag { tags, .. } => tags.as_slice(),
            _ => &[],
        });
        tags.filter(|tag| tag.named_commit().is_none())
    }

    /// Returns whether the image is built, pushed or tagged.
    pub fn makes_something(&self) -> bool {
        let makes = |step: &Step| {
            matches!(
                step,
                Step::Image(_) | Step::Push(_) | Step::RegistryTag { .. }
            )
        };
        self.decision == Decision::Tag || self.steps.iter().any(makes)
    }

    /// Returns the short name of the branch or tag that the service is built from, or `-`.
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

    /// Returns whether output should show each service's reference: not all of them come from the manifest.
    pub fn shows_references(&self) -> bool {
        let mut sources = self.units.iter().filter_map(|unit| unit.source.as_ref());
        self.train.is_some() || sources.any(|source| source.origin != ReferenceOrigin::Manifest)
    }

    /// Returns whether anything is built, pushed or tagged. Pulled images already exist.
    pub fn makes_something(&self) -> bool {
        self.work().any(UnitPlan::makes_something)
    }

    /// Returns the repositories to which newly built images are pushed: their push permission is worth checking before
    /// the build. Existing images are pushed right away, so checking first gains nothing.
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

    /// Returns whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.work().next().is_none()
    }
}
