//! The lock that `--locked` names: read, and held against what there is.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::failure::manifest_failure;
use super::session::Session;
use crate::cli::LockedArgs;
use crate::error::{Exit, Failure};
use crate::lock::{InvalidLock, LOCK, Lock, LockFile};
use crate::manifest::ServiceName;
use crate::plan::{Draft, Folders, Inventory, Pinned};
use crate::source::ServiceSource;

/// The lock that is to be met.
pub struct Locked {
    lock: Lock,
    /// How errors call it.
    name: String,
}

impl Locked {
    /// Reads the lock where it is asked for.
    pub fn read(session: &Session, args: &LockedArgs) -> Result<Option<Self>, Failure> {
        if !args.locked {
            return Ok(None);
        }
        let file = lock_file(session, args.lock_file.as_deref());
        let lock = LockFile::load(&file).map_err(|error| lock_failure(session, &error))?;
        Ok(Some(Self {
            lock: lock.lock,
            name: lock_name(session, &file),
        }))
    }

    /// Returns what is built of each service; no remote is asked.
    pub fn sources(
        &self,
        session: &Session,
        services: &BTreeSet<ServiceName>,
    ) -> Result<BTreeMap<ServiceName, ServiceSource>, Failure> {
        let manifest = &session.manifest;
        let whole = services.len() == manifest.services.len();
        Ok(self.lock.sources(&self.name, manifest, services, whole)?)
    }

    /// Returns the image of each service.
    pub fn pinned(&self) -> BTreeMap<ServiceName, Pinned> {
        self.lock.pinned()
    }

    /// Makes sure that the images are as they were locked, and that their builds would be the same.
    pub fn check(
        &self,
        session: &Session,
        draft: &Draft<'_>,
        inventory: &Inventory,
        folders: &Folders,
    ) -> Result<(), Failure> {
        let services = draft.services();
        let registry = &inventory.registry;
        self.lock.check_images(&self.name, &services, registry)?;
        let today = draft
            .compare(inventory, folders)
            .map_err(|error| manifest_failure(session, &error))?;
        Ok(self.lock.check_recipes(&self.name, &services, &today)?)
    }
}

/// Returns where the lock is.
pub fn lock_file(session: &Session, named: Option<&Path>) -> PathBuf {
    match named {
        Some(file) => session.settings.directory.join(file),
        None => session.manifest.folder.join(LOCK),
    }
}

/// Returns how messages call a lock: below the manifest's folder without that folder.
pub fn lock_name(session: &Session, file: &Path) -> String {
    let below = file.strip_prefix(&session.manifest.folder);
    below.unwrap_or(file).display().to_string()
}

/// Shows a lock's error in the colours that were asked for.
pub fn lock_failure(session: &Session, error: &InvalidLock) -> Failure {
    Failure::rendered(Exit::Usage, error.render(session.settings.report.color))
}
