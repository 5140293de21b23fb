//! `--locked`: reads the lock and checks it against the images and recipes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::base::error::{Exit, Failure};
use crate::flow::failure::manifest_failure;
use crate::flow::session::Session;
use crate::model::lock::{InvalidLock, LOCK, Lock, LockedService};
use crate::model::manifest::ServiceName;
use crate::model::plan::{Folders, Inventory, Pinned, PlanDraft};
use crate::model::source::ServiceSource;
use crate::store::lock_file::LockFile;

/// The lock that a build must match.
pub struct Locked {
    /// The lock with its images in the repositories of the manifest.
    lock: Lock,
    /// The lock as it was read.
    original: Lock,
    /// Its name in error messages.
    name: String,
}

impl Locked {
    /// Reads the lock.
    pub fn read(session: &Session, file: &Path) -> Result<Self, Failure> {
        let lock = LockFile::load(file).map_err(|error| lock_failure(session, &error))?;
        Ok(Self {
            lock: lock.lock.in_repositories_of(&session.manifest),
            original: lock.lock,
            name: lock_name(session, file),
        })
    }

    /// Returns the entries of these services, with their images in the repositories of the manifest.
    pub fn entries(
        &self,
        services: &BTreeSet<ServiceName>,
    ) -> BTreeMap<ServiceName, LockedService> {
        let entries = self.lock.services.iter();
        entries
            .filter(|(name, _)| services.contains(*name))
            .map(|(name, locked)| (name.clone(), locked.clone()))
            .collect()
    }

    /// Returns the images of these services, and the deployed ones of the others.
    ///
    /// # Errors
    ///
    /// If the lock and the manifest do not match.
    pub fn set(
        &self,
        session: &Session,
        services: &BTreeSet<ServiceName>,
        kept: &Lock,
    ) -> Result<Lock, Failure> {
        self.check_services(session, services)?;
        Ok(kept.with(self.entries(services)))
    }

    /// Checks that the lock has these services, as the manifest does.
    pub fn check_services(
        &self,
        session: &Session,
        services: &BTreeSet<ServiceName>,
    ) -> Result<(), Failure> {
        let manifest = &session.manifest;
        self.original
            .sources(&self.name, manifest, services, false)?;
        Ok(())
    }

    /// Returns the commands that copy images locked in other repositories to those of the manifest.
    pub fn copy_commands(
        &self,
        session: &Session,
        services: &BTreeSet<ServiceName>,
    ) -> Vec<String> {
        self.original
            .copy_commands(&self.name, &session.manifest, services)
    }

    /// Returns the locked sources, without contacting any remote.
    pub fn sources(
        &self,
        session: &Session,
        services: &BTreeSet<ServiceName>,
    ) -> Result<BTreeMap<ServiceName, ServiceSource>, Failure> {
        let manifest = &session.manifest;
        let whole = services.len() == manifest.services.len();
        Ok(self
            .original
            .sources(&self.name, manifest, services, whole)?)
    }

    /// Returns the image of each service.
    pub fn pinned(&self) -> BTreeMap<ServiceName, Pinned> {
        self.lock.pinned()
    }

    /// Checks that the images exist as locked, and that building them now would use the same inputs.
    pub fn check(
        &self,
        session: &Session,
        draft: &PlanDraft<'_>,
        inventory: &Inventory,
        folders: &Folders,
    ) -> Result<(), Failure> {
        let services = draft.services();
        let registry = &inventory.registry;
        self.lock
            .check_images(&self.name, &services, registry)
            .map_err(|missing| missing.locked_as(&self.original, &session.manifest))?;
        let current = draft
            .compare(inventory, folders)
            .map_err(|error| manifest_failure(session, &error))?;
        Ok(self.lock.check_recipes(&self.name, &services, &current)?)
    }
}

/// Returns the path of the lock.
pub fn lock_file(session: &Session, named: Option<&Path>) -> PathBuf {
    match named {
        Some(file) => session.settings.directory.join(file),
        None => session.manifest.folder.join(LOCK),
    }
}

/// Returns the lock's name for messages: its path, relative to the manifest's folder if it is inside.
pub fn lock_name(session: &Session, file: &Path) -> String {
    let below = file.strip_prefix(&session.manifest.folder);
    below.unwrap_or(file).display().to_string()
}

/// Renders an error in a lock.
pub fn lock_failure(session: &Session, error: &InvalidLock) -> Failure {
    Failure::rendered(Exit::Usage, error.render(session.settings.report.color))
}
