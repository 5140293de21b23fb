//! The status of each service: its working copy, commit and image, and how it is displayed. Pure.

mod json;
mod local_changes;
mod table;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use crate::model::image::ImageReference;
use crate::model::manifest::ServiceName;
use crate::model::plan::{BaseState, ImageLookup, RecordedBase};
use crate::model::recipe::RecipeStatus;
use crate::model::source::{CommitId, ReferenceOrigin, ServiceSource};
pub use local_changes::{UnpushedChanges, local_changes_note};

/// The status of one service.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceStatus {
    /// The service.
    pub name: ServiceName,
    /// Its working copy, relative to the manifest's folder.
    pub dir: PathBuf,
    /// The state of the working copy.
    pub working_copy: WorkingCopyStatus,
    /// What the reference points to; `None` if unknown.
    pub source: Option<ServiceSource>,
    /// The image of that commit; `None` if the commit is unknown.
    pub image: Option<ImageReference>,
    /// The image in the engine.
    pub engine: ImageStatus,
    /// The image in its registry.
    pub registry: ImageStatus,
    /// The base images of the image in the registry or else in the engine.
    pub bases: Vec<RecordedBase>,
}

impl ServiceStatus {
    /// Returns the base images that moved in their registries.
    pub fn moved_bases(&self) -> impl Iterator<Item = &RecordedBase> {
        let bases = self.bases.iter();
        bases.filter(|base| matches!(base.state, BaseState::Moved(_)))
    }
}

/// The state of a working copy's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WorkingCopyStatus {
    /// Not cloned yet.
    Missing,
    /// Not a working copy.
    Foreign,
    /// Its source comes from a plugin, so only its user knows what is checked out.
    Unmanaged,
    /// It cannot be read.
    Unreadable,
    /// A working copy.
    Present(CheckoutStatus),
}

/// A working copy, compared with the service's reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckoutStatus {
    /// The branch; `None` if `HEAD` is detached.
    pub branch: Option<String>,
    /// The checked out commit; `None` in an empty repository.
    pub commit: Option<CommitId>,
    /// The number of commits that it is ahead of and behind the reference, from the local objects; `None` if the
    /// reference was never fetched.
    pub ahead_and_behind: Option<(usize, usize)>,
    /// Whether the reference's current commit is fetched.
    pub is_fetched: bool,
    /// The number of tracked files with changes.
    pub modified: usize,
    /// The number of untracked files and folders, without ignored ones.
    pub untracked: usize,
    /// An operation in progress, such as a merge.
    pub operation: Option<&'static str>,
}

/// The status of an image in the engine or its registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageStatus {
    /// It exists and was built from the current inputs.
    Verified,
    /// It exists, but its inputs are not recorded.
    Unverified,
    /// It exists, but was built from other inputs.
    Stale,
    /// It exists and was built from a working copy with `--local`.
    Local,
    /// It exists; the current inputs are unknown.
    Present,
    /// It does not exist.
    Absent,
    /// The query failed.
    Unknown,
    /// The image has no registry.
    NoRegistry,
    /// Not queried.
    NotQueried,
}

impl ImageStatus {
    /// Returns the display name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Verified => "verified",
            Self::Unverified => "unverified",
            Self::Stale => "stale",
            Self::Local => "local",
            Self::Present => "present",
            Self::Absent => "absent",
            Self::Unknown => "unknown",
            Self::NoRegistry => "no registry",
            Self::NotQueried => "not asked",
        }
    }

    /// Returns the status for a lookup result; `is_compared` is whether there was a recipe to compare with.
    pub fn of(lookup: &ImageLookup, is_compared: bool) -> Self {
        match lookup {
            ImageLookup::NotQueried => Self::NotQueried,
            ImageLookup::Absent => Self::Absent,
            ImageLookup::Unknown(_) => Self::Unknown,
            // The label cannot be read, so the inputs are unknown.
            ImageLookup::UnreadableRecipe(_) => Self::Unverified,
            ImageLookup::FromWorkingCopy => Self::Local,
            ImageLookup::Found(_) if !is_compared => Self::Present,
            ImageLookup::Found(RecipeStatus::Verified) => Self::Verified,
            ImageLookup::Found(RecipeStatus::Unverified) => Self::Unverified,
            ImageLookup::Found(RecipeStatus::Stale(_)) => Self::Stale,
        }
    }
}

/// The status of all services.
#[derive(Debug, Clone, PartialEq)]
pub struct Status {
    /// The services, by name.
    pub services: Vec<ServiceStatus>,
    /// Failed queries, each with its causes and hints.
    pub problems: Vec<String>,
}

impl Status {
    /// Returns whether output should show each service's reference: not all of them come from the manifest.
    fn shows_references(&self) -> bool {
        let mut sources = self.services.iter().filter_map(|one| one.source.as_ref());
        sources.any(|source| source.origin != ReferenceOrigin::Manifest)
    }
}
