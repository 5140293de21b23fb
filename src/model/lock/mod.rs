//! `x-platform.lock`: the commits and images of a release.
//!
//! `parse` and `render` implement the file format, `entry` creates the entries that `xp lock` writes,
//! [`compare`](Lock::compare) compares two locks, `mismatch` and `missing_images` check a manifest and registries
//! against a lock, and `changes` is the output of `xp diff`. Only `file` accesses the file system.

mod changes;
mod compare;
mod dependents;
mod entry;
mod json;
mod markdown;
mod mismatch;
mod missing_images;
pub mod parse;
mod render;
#[cfg(test)]
pub mod tests;
mod text;
mod unlockable;

use std::collections::BTreeMap;

pub use self::changes::{CommitHistory, LockChanges, ServiceChange};
pub use self::missing_images::copy_hints;
pub use self::parse::{InvalidLock, parse, parse_deployed};
pub use self::unlockable::{LockProblem, UnlockableImages};

use crate::model::image::{Digest, ImageReference};
use crate::model::manifest::{Manifest, ServiceName};
use crate::model::plan::BaseDigests;
use crate::model::recipe::InputDigest;
use crate::model::source::{CommitId, GitReference, RefName, ResolvedReference, SourceRemote};

/// The default name of the lock, next to the manifest.
pub const LOCK: &str = "x-platform.lock";

/// The supported format version.
const VERSION: u64 = 1;

/// The commits and images of a release.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lock {
    pub services: BTreeMap<ServiceName, LockedService>,
    /// The comment at the top of the file, with line ends, if it differs from the default one.
    header: Option<String>,
}

/// The lock's entry for one service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockedService {
    /// The repository.
    pub remote: SourceRemote,
    /// The reference that was resolved.
    pub reference: GitReference,
    /// The full name of the reference, such as `refs/heads/master`; `None` for a bare commit.
    pub name: Option<RefName>,
    /// The service's folder in a shared repository.
    pub path: Option<String>,
    /// The commit to build; with `path`, the last one that touched it.
    pub commit: CommitId,
    /// The image, tagged with its commit and, if it is a variant, the variant.
    pub image: ImageReference,
    /// The digest of the image in its registry; `None` if it has no registry.
    pub digest: Option<Digest>,
    /// The digest of all build inputs except the commit and, if not run, the tests.
    pub recipe: InputDigest,
    /// The builder image; `None` if there are no scripts.
    pub builder: Option<ImageReference>,
    /// The base images that the image was built from, with `docker.bases: track`.
    pub bases: BaseDigests,
}

impl LockedService {
    /// Returns what distinguishes the image from the commit's usual image.
    pub fn variant(&self) -> Option<&str> {
        self.image.tag()?.variant_of(self.commit)
    }

    /// Returns the commit with the name of its reference.
    pub fn resolved(&self) -> ResolvedReference {
        ResolvedReference {
            commit: self.commit,
            name: self.name.as_ref().map(RefName::to_string),
        }
    }
}

impl Lock {
    /// Returns a lock of these services.
    pub fn new(services: BTreeMap<ServiceName, LockedService>) -> Self {
        Self {
            services,
            header: None,
        }
    }

    /// Returns this lock with the entries of some services replaced.
    pub fn with(&self, services: BTreeMap<ServiceName, LockedService>) -> Self {
        let mut lock = self.clone();
        lock.services.extend(services);
        lock
    }

    /// Returns this lock with the same images in the repositories of a manifest.
    pub fn in_repositories_of(&self, manifest: &Manifest) -> Self {
        let mut lock = self.clone();
        for (name, locked) in &mut lock.services {
            let service = manifest.services.get(name);
            if let (Some(service), Some(tag)) = (service, locked.image.tag()) {
                locked.image = service.docker.image.tagged(tag.clone());
            }
        }
        lock
    }

    /// Returns a lock of only these services, with the same comment at the top.
    pub fn with_services(&self, services: BTreeMap<ServiceName, LockedService>) -> Self {
        Self {
            services,
            header: self.header.clone(),
        }
    }
}
