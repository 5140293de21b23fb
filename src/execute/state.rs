//! State passed between the steps of a unit.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use time::OffsetDateTime;

use super::results::LiveResult;
use super::used_images::UsedImages;
use crate::model::event::{Phase, RestoredPhase};
use crate::model::image::{Digest, ImageReference, Platform};
use crate::model::plan::ContainerStep;

/// A pushed image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// The identity tag; `None` for a builder image.
    pub identity: Option<ImageReference>,
    /// Its digest in the registry.
    pub digest: Digest,
    /// Whether another run pushed it, from the same inputs.
    pub is_adopted: bool,
}

/// A document that was attached to the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttachedDocument {
    /// What it is, such as `sbom`.
    pub name: String,
    pub media_type: String,
    /// The digest of the document.
    pub digest: Digest,
}

/// Results of earlier steps that later steps need.
#[derive(Default)]
pub struct UnitState {
    /// When the unit started.
    pub started: Option<OffsetDateTime>,
    /// The commit's time, in seconds since 1970.
    pub commit_time: Option<i64>,
    /// The needed images that the image was built from, once it is built.
    pub used: Option<UsedImages>,
    /// The ID of the image, once it is built.
    pub built: Option<String>,
    /// The image in the registry, once it is pushed.
    pub published: Option<Published>,
    /// The documents that were attached to it.
    pub attached: Vec<AttachedDocument>,
    /// The image in the registry that another run has pushed, once it is there.
    pub awaited: Option<Digest>,
    /// Whether the registry did not allow moving the commit's tag to the image.
    pub is_commit_tag_refused: bool,
    /// The IDs of the images that the scripts were started in, by the platform whose engine has them.
    pub toolchains: BTreeMap<(Option<Platform>, ImageReference), String>,
    /// The names of images that scripts for other platforms run in, by those of the plan.
    pub toolchain_names: BTreeMap<(ImageReference, Platform), ImageReference>,
    /// The object store of the working copy.
    pub objects: Option<PathBuf>,
    /// Its alternates, which must be mounted at the same paths.
    pub borrowed_objects: Vec<PathBuf>,
    /// The outputs of phases with `inputs`.
    pub results: BTreeMap<Phase, LiveResult>,
    /// When the current phase with `inputs` started.
    pub phase_started: Option<Instant>,
    /// The phases that were restored.
    pub restored: Vec<RestoredPhase>,
}

impl UnitState {
    /// Returns the name of an image in the engine that runs scripts for a platform.
    pub fn toolchain(&self, image: &ImageReference, platform: Option<&Platform>) -> ImageReference {
        let name = platform.and_then(|platform| {
            let key = (image.clone(), platform.clone());
            self.toolchain_names.get(&key)
        });
        name.unwrap_or(image).clone()
    }

    /// Returns a container with the name that its image has in the engine.
    pub fn with_toolchain(&self, step: &ContainerStep) -> ContainerStep {
        ContainerStep {
            image: self.toolchain(&step.image, step.platform.as_ref()),
            ..step.clone()
        }
    }
}
