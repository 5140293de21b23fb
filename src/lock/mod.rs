//! `x-platform.lock`: a set of commits and images that belong together.
//!
//! `parse` and `render` are the file's format, `entry` makes what `xp lock` writes,
//! [`compare`](Lock::compare) tells two locks apart, `fulfil` and `images` hold a manifest and what
//! registries have against a lock, and `changes` is what `xp diff` shows. Only `file` looks at the file
//! system.

mod changes;
mod compare;
mod entry;
mod file;
mod fulfil;
mod images;
mod json;
mod markdown;
mod parse;
mod plain;
mod render;
#[cfg(test)]
mod tests;
mod text;
mod unlocked;

use std::collections::BTreeMap;

pub use self::changes::{Changes, History, ServiceChange};
pub use self::compare::{Aspect, Difference, Kind};
pub use self::file::{FileError, LockFile};
pub use self::fulfil::{Unmet, UnmetLock};
pub use self::images::LostImages;
pub use self::parse::{InvalidLock, parse};
pub use self::unlocked::{Unlockable, Unlocked};

use crate::image::{Digest, ImageReference};
use crate::manifest::ServiceName;
use crate::recipe::InputDigest;
use crate::source::{CommitId, GitReference, GitUrl, RefName, ResolvedReference};

/// The name of the lock, beside the manifest, where no other is given.
pub const LOCK: &str = "x-platform.lock";

/// The format version that this code reads and writes.
const VERSION: u64 = 1;

/// What belongs together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lock {
    /// The services.
    pub services: BTreeMap<ServiceName, LockedService>,
    /// The comment that the file starts with, where it is not xp's own, with its line ends.
    header: Option<String>,
}

/// What a lock says of one service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockedService {
    /// Where its source comes from, without credentials.
    pub remote: GitUrl,
    /// What was asked of the remote.
    pub reference: GitReference,
    /// What it was built as, such as `refs/heads/master`; none for a bare commit.
    pub name: Option<RefName>,
    /// The folder of a shared repository that is the service.
    pub path: Option<String>,
    /// The commit that is built; with `path` the last one that touched it.
    pub commit: CommitId,
    /// The image by its commit, and by the variant where it is one.
    pub image: ImageReference,
    /// The digest of the image in its registry; none where it has no registry.
    pub digest: Option<Digest>,
    /// What stands for every input of the build but the commit and the tests.
    pub recipe: InputDigest,
    /// The image that the scripts run in; none where there are no scripts.
    pub builder: Option<ImageReference>,
}

impl LockedService {
    /// Returns what tells the image from the commit's usual one.
    pub fn variant(&self) -> Option<&str> {
        self.image.tag()?.variant_of(self.commit)
    }

    /// Returns the commit under the name that its reference had.
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

    /// Returns this lock with the entries of some services replaced; the rest stays as it is.
    pub fn with(&self, services: BTreeMap<ServiceName, LockedService>) -> Self {
        let mut lock = self.clone();
        lock.services.extend(services);
        lock
    }

    /// Returns a lock of these services alone, which starts with the comment that this one starts with.
    pub fn replaced_by(&self, services: BTreeMap<ServiceName, LockedService>) -> Self {
        Self {
            services,
            header: self.header.clone(),
        }
    }
}
