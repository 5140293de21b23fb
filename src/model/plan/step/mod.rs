//! The steps of a plan, with everything needed to run them.

mod container;
mod image;
mod source;
mod staged;

use std::fmt;
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use container::{
    ContainerStep, PlannedImage, PlannedSidecar, PluginCall, PluginStep, ScriptStep, SidecarsStep,
};
pub use image::{BaseUse, ImageStep, NeededImage, PushStep};
pub use source::{ExportStep, FetchStep, SyncStep};
pub use staged::{KeepStep, PlaceStep, RestoreStep, SavedResult, StageStep};

use super::{AwaitStep, ProvenanceStep, SbomStep, SignStep, ToolchainStep};
use crate::model::event::Phase;
use crate::model::image::{Digest, ImageReference, Platform, Tag};

/// One step of a unit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Fetch the commit into the working copy's object store.
    Sync(SyncStep),
    /// Check the commit out into its export.
    Export(ExportStep),
    /// Have a plugin write the commit's files to its export.
    Fetch(Box<FetchStep>),
    /// Provide an image that the following scripts for another platform run in.
    Toolchain(Box<ToolchainStep>),
    /// Start the builder container for the following scripts.
    Container(Box<ContainerStep>),
    /// Start the containers beside the following scripts, and wait until they are ready.
    Sidecars(Box<SidecarsStep>),
    /// Run one item of a script list.
    Script(ScriptStep),
    /// Run a plugin.
    Plugin(Box<PluginStep>),
    /// Check the inputs of a phase out into its own folder.
    Stage(Box<StageStep>),
    /// Save the outputs of a phase.
    Keep(Box<KeepStep>),
    /// Restore the outputs of a phase instead of running it.
    Restore(Box<RestoreStep>),
    /// Add the outputs of phases to the export.
    Place(PlaceStep),
    /// Build an image.
    Image(Box<ImageStep>),
    /// Give the image that was built its names, after it was verified.
    NameImage {
        /// The names; the first one has the commit's or content's tag.
        names: Vec<ImageReference>,
    },
    /// Give an image in the engine additional names.
    EngineTag {
        /// The existing image.
        image: ImageReference,
        /// Its additional names.
        names: Vec<ImageReference>,
    },
    /// Push an image from the engine.
    Push(Box<PushStep>),
    /// Attach a bill of materials to the image that was pushed.
    Sbom(Box<SbomStep>),
    /// Attach provenance to the image that was pushed.
    Provenance(Box<ProvenanceStep>),
    /// Sign the image that was pushed.
    Sign(SignStep),
    /// Give an image in a registry additional tags, without transferring layers. After a push, it is the image that
    /// was pushed, or the one that was used instead.
    RegistryTag {
        /// The existing image, by digest if known.
        image: ImageReference,
        /// Its additional tags.
        tags: Vec<Tag>,
    },
    /// Wait until another run has pushed an image, which is then pulled.
    Await(Box<AwaitStep>),
    /// Pull an image into the engine.
    Pull {
        image: ImageReference,
        /// The digest of the image that was compared; `None` if only the name is known.
        digest: Option<Digest>,
        /// Whether an image that the engine has is used, whatever it is.
        #[serde(default)]
        if_missing: bool,
    },
}
impl Step {
    /// Returns whether the step only fetches the source.
    pub fn fetches_source(&self) -> bool {
        matches!(self, Self::Sync(_) | Self::Export(_) | Self::Fetch(_))
    }

    /// Returns the container that the step starts.
    pub fn container(&self) -> Option<&ContainerStep> {
        match self {
            Self::Container(container) => Some(container),
            Self::Plugin(plugin) => Some(&plugin.container),
            _ => None,
        }
    }

    /// Returns the container for changes; see [`Self::container`].
    pub(super) fn container_mut(&mut self) -> Option<&mut ContainerStep> {
        match self {
            Self::Container(container) => Some(container),
            Self::Plugin(plugin) => Some(&mut plugin.container),
            _ => None,
        }
    }

    /// Returns the platform whose engine runs the step; `None` for the usual engine.
    pub fn platform(&self) -> Option<&Platform> {
        match self {
            Self::Toolchain(step) => Some(&step.platform),
            Self::Image(step) => step.platform.as_ref(),
            Self::Sidecars(step) => step.platform.as_ref(),
            step => step.container()?.platform.as_ref(),
        }
    }

    /// Returns the image that an item of the scripts names, instead of running in the service's builder.
    pub fn other_image(&self) -> Option<&ImageReference> {
        match self {
            Self::Script(script) => script.image.as_ref(),
            Self::Plugin(plugin) => Some(&plugin.container.image),
            _ => None,
        }
    }

    /// Returns whether the step is part of the scripts, which share containers.
    pub fn is_of_scripts(&self) -> bool {
        matches!(
            self,
            Self::Container(_) | Self::Sidecars(_) | Self::Script(_) | Self::Plugin(_)
        )
    }

    /// Returns the phase, which also selects the log for the step's output.
    pub fn phase(&self) -> Phase {
        match self {
            Self::Sync(_) => Phase::Sync,
            Self::Export(_) => Phase::Export,
            Self::Fetch(_) => Phase::Fetch,
            Self::Toolchain(step) if step.build.is_none() => Phase::Pull,
            Self::Toolchain(_) | Self::Container(_) => Phase::Container,
            Self::Sidecars(_) => Phase::Sidecars,
            Self::Script(script) => script.phase,
            Self::Plugin(plugin) => plugin.phase,
            Self::Stage(step) => step.phase,
            Self::Keep(step) => step.phase,
            Self::Restore(step) => step.phase,
            Self::Place(_) => Phase::Export,
            Self::Image(_) => Phase::Image,
            Self::NameImage { .. } | Self::EngineTag { .. } | Self::RegistryTag { .. } => {
                Phase::Tag
            }
            Self::Push(_) => Phase::Push,
            Self::Sbom(_) | Self::Provenance(_) | Self::Sign(_) => Phase::Attest,
            Self::Await(_) | Self::Pull { .. } => Phase::Pull,
        }
    }

    /// Returns the step as text, for `xp plan` and the progress of `xp build`. Paths are relative to `folder`, the
    /// manifest's.
    ///
    /// Omits values of variables and build arguments, because they may be secret.
    pub fn describe(&self, folder: &Path) -> String {
        match self {
            Self::Sync(step) => step.describe(),
            Self::Export(step) => step.describe(folder),
            Self::Fetch(step) => step.describe(folder),
            Self::Toolchain(step) => step.describe(),
            Self::Container(step) => step.describe(folder),
            Self::Sidecars(step) => step.describe(),
            Self::Script(step) => step.text.trim_end().to_owned(),
            Self::Plugin(step) => step.describe(),
            Self::Stage(step) => step.describe(),
            Self::Keep(step) => step.describe(),
            Self::Restore(step) => step.describe(),
            Self::Place(step) => step.describe(folder),
            Self::Image(step) => step.describe(folder),
            Self::NameImage { names } | Self::EngineTag { names, .. } => {
                let tags = names.iter().filter_map(ImageReference::tag);
                format!("{} in the engine", join(tags))
            }
            Self::RegistryTag { tags, .. } => format!("{} in the registry", join(tags)),
            Self::Push(step) => step.describe(),
            Self::Sbom(step) => step.describe(),
            Self::Provenance(step) => step.describe(),
            Self::Sign(step) => step.describe(),
            Self::Await(step) => step.describe(),
            Self::Pull { image, .. } => image.to_string(),
        }
    }
}

fn join<T: fmt::Display>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    items.join(", ")
}

/// Returns a path as it is shown: relative to the folder, if it is in it.
fn relative(path: &Path, folder: &Path) -> String {
    path.strip_prefix(folder)
        .unwrap_or(path)
        .display()
        .to_string()
}
