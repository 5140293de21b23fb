//! How each service stands: its working copy, its commit, its image. Pure: what was found, as data,
//! and how it is shown.

mod json;
mod table;
#[cfg(test)]
mod tests;
mod unbuilt;

use std::path::PathBuf;

use crate::image::ImageReference;
use crate::manifest::ServiceName;
use crate::plan::Sighting;
use crate::recipe::Standing;
use crate::source::{CommitId, Origin, ServiceSource};
pub use unbuilt::{Unpushed, unbuilt};

/// How one service stands.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceStatus {
    /// Which.
    pub name: ServiceName,
    /// Its working copy, relative to the manifest's folder.
    pub dir: PathBuf,
    /// What is in the working copy.
    pub working_copy: WorkingCopyStatus,
    /// What the reference points at; none where that is not known.
    pub source: Option<ServiceSource>,
    /// The image of that commit; none where the commit is not known.
    pub image: Option<ImageReference>,
    /// The image in the engine.
    pub engine: ImageStatus,
    /// The image in its registry.
    pub registry: ImageStatus,
}

/// What is in the folder of a working copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WorkingCopyStatus {
    /// Nothing: it was not cloned yet.
    Missing,
    /// Something that is no working copy.
    Foreign,
    /// It cannot be read.
    Unreadable,
    /// A working copy.
    Present(Checkout),
}

/// A working copy, and how it stands to what the service's reference points at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkout {
    /// The branch; none where `HEAD` is detached.
    pub branch: Option<String>,
    /// The commit that is checked out; none in a repository without a commit.
    pub commit: Option<CommitId>,
    /// The commits that it has and the reference has not, and the other way round, as far as they are
    /// known here; none where nothing of the reference is.
    pub ahead_and_behind: Option<(usize, usize)>,
    /// Whether the commit that the reference points at now is here.
    pub is_fetched: bool,
    /// Tracked files with changes.
    pub modified: usize,
    /// Files and folders that are neither tracked nor ignored.
    pub untracked: usize,
    /// What somebody has begun and not finished, such as a merge.
    pub under_way: Option<&'static str>,
}

/// What is known of an image in one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageStatus {
    /// It is there, built from what a build would take today.
    Verified,
    /// It is there, and does not say what it was built from.
    Unverified,
    /// It is there, built from something else than today's inputs.
    Stale,
    /// It is there, built from a working copy by `--local`.
    Local,
    /// It is there; what it should be built from cannot be told.
    Present,
    /// It is not there.
    Absent,
    /// It could not be told.
    Unknown,
    /// It belongs to no registry.
    NoRegistry,
    /// Nobody asked.
    NotAsked,
}

impl ImageStatus {
    /// Returns the words for it.
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
            Self::NotAsked => "not asked",
        }
    }

    /// Returns what a sighting means; `is_compared` tells whether there was a recipe to compare with.
    pub fn of(sighting: &Sighting, is_compared: bool) -> Self {
        match sighting {
            Sighting::NotAsked => Self::NotAsked,
            Sighting::Absent => Self::Absent,
            Sighting::Unknown(_) => Self::Unknown,
            // What wrote the label is not known, so neither is what the image was built from.
            Sighting::Damaged(_) => Self::Unverified,
            Sighting::OfWorkingCopy => Self::Local,
            Sighting::Found(_) if !is_compared => Self::Present,
            Sighting::Found(Standing::Verified) => Self::Verified,
            Sighting::Found(Standing::Unverified) => Self::Unverified,
            Sighting::Found(Standing::Stale(_)) => Self::Stale,
        }
    }
}

/// How the services of a platform stand.
#[derive(Debug, Clone, PartialEq)]
pub struct Status {
    /// The services, by name.
    pub services: Vec<ServiceStatus>,
    /// What could not be found out, and why; each with its hints.
    pub problems: Vec<String>,
}

impl Status {
    /// Tells whether a reader has to know what each service would be built from: not all of it is in
    /// the manifest.
    fn shows_references(&self) -> bool {
        let mut sources = self.services.iter().filter_map(|one| one.source.as_ref());
        sources.any(|source| source.origin != Origin::Manifest)
    }
}
