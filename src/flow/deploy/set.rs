//! Finds the images to deploy: those of a lock, of the current references, or of an earlier deploy.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::base::error::{Exit, Failure};
use crate::base::plural::count_of;
use crate::flow::build::BuildOptions;
use crate::flow::request::{EngineUse, LockRequest, PlanRequest, PlanSource, ReferenceOverrides};
use crate::flow::session::Session;
use crate::flow::sources::locked::{lock_failure, lock_name};
use crate::flow::{build, lock, plan, survey};
use crate::model::deploy::Deployment;
use crate::model::event::Event;
use crate::model::image::ImageReference;
use crate::model::lock::{Lock, LockedService};
use crate::model::manifest::{EnvironmentName, ServiceName};
use crate::model::plan::{Inventory, Options, Presence, TESTS, UnknownImages};
use crate::model::recipe::{LABEL_RECIPE, Recipe};
use crate::store::claim::FolderLock;
use crate::store::lock_file::LockFile;

/// A set of images.
pub struct CurrentSet {
    pub lock: Lock,
    /// The engine's IDs of images that have no digest in a registry.
    pub ids: BTreeMap<ServiceName, String>,
}

/// The images of the current commits of some services.
pub struct CurrentImages<'c> {
    pub session: &'c Session,
    pub references: &'c ReferenceOverrides,
    pub trust_commit: bool,
    pub services: &'c BTreeSet<ServiceName>,
    pub folder: &'c FolderLock,
    pub engine: EngineUse,
}

impl CurrentImages<'_> {
    /// Builds the missing ones.
    pub async fn build(&self) -> Result<(), Failure> {
        let options = Options {
            pull: false,
            trust_commit: self.trust_commit,
            ..Options::default()
        };
        let source = match self.engine {
            EngineUse::WorkingCopies => PlanSource::WorkingCopies { required: false },
            EngineUse::None | EngineUse::Unregistered => PlanSource::Remotes,
        };
        let request = PlanRequest {
            source,
            options,
            ..PlanRequest::of_remotes(self.services.clone(), self.references.clone())
        };
        let planned = plan::plan(self.session, &request, Some(self.folder));
        let planned = self.session.unless_interrupted(planned).await?;
        let options = BuildOptions::new(self.session.reporter.detail(false));
        build::carry_out(self.session, planned, options).await
    }

    /// Returns the images. Services that are not selected keep their deployed images.
    pub async fn set(
        &self,
        environment: &EnvironmentName,
        kept: &Lock,
    ) -> Result<CurrentSet, Failure> {
        let request = LockRequest {
            services: self.services.clone(),
            references: self.references.clone(),
            test: true,
            trust_commit: self.trust_commit,
            engine: self.engine,
        };
        let fresh = lock::fresh(self.session, &request, kept, Some(self.folder)).await?;
        if !fresh.unlockable.is_empty() {
            return Err(fresh.unlockable.of_deploy(environment).into());
        }
        let is_included =
            |name: &ServiceName| self.services.contains(name) || kept.services.contains_key(name);
        let entries = fresh.lock.services.into_iter();
        let entries = entries.filter(|(name, _)| is_included(name));
        let lock = Lock::new(entries.collect());
        if self.engine == EngineUse::None {
            check_images(self.session, &kept.services, &BTreeSet::new()).await?;
        }
        Ok(CurrentSet {
            lock,
            ids: fresh.ids,
        })
    }
}

/// Returns the images of a lock. Services that are not selected keep their deployed images.
pub async fn of_lock(
    session: &Session,
    file: &Path,
    services: &BTreeSet<ServiceName>,
    kept: &Lock,
) -> Result<Lock, Failure> {
    let (set, locked) = read_lock(session, file, services, kept)?;
    check_images(session, &set.services, &locked).await?;
    Ok(set)
}

/// Reads a lock. Returns it with the deployed images of services that are not selected, and the services whose images
/// are those of the lock.
pub fn read_lock(
    session: &Session,
    file: &Path,
    services: &BTreeSet<ServiceName>,
    kept: &Lock,
) -> Result<(Lock, BTreeSet<ServiceName>), Failure> {
    let found = LockFile::load(file).map_err(|error| lock_failure(session, &error))?;
    let name = lock_name(session, file);
    // Checks that the manifest and the lock have the same services.
    found
        .lock
        .sources(&name, &session.manifest, services, false)?;
    let entries = found.lock.services.into_iter();
    let entries: BTreeMap<ServiceName, LockedService> = entries
        .filter(|(service, _)| services.contains(service))
        .collect();
    let locked = entries.keys().cloned().collect();
    Ok((kept.with(entries), locked))
}

/// Returns the images of an earlier deploy.
pub async fn of_deploy(session: &Session, earlier: &Deployment) -> Result<Lock, Failure> {
    check_images(session, &earlier.set.services, &BTreeSet::new()).await?;
    Ok(earlier.set.clone())
}

/// Checks that the registries have the images with these digests, and that those of `locked` have the recorded
/// recipes. Images of a deploy record are not checked for their recipe: `--trust-commit` may have deployed others.
pub async fn check_images(
    session: &Session,
    services: &BTreeMap<ServiceName, LockedService>,
    locked: &BTreeSet<ServiceName>,
) -> Result<(), Failure> {
    let pinned: BTreeMap<&ServiceName, (&LockedService, ImageReference)> = services
        .iter()
        .filter_map(|(name, locked)| {
            let image = locked.image.repository();
            let pinned = image.with_digest(locked.digest.clone()?);
            Some((name, (locked, pinned)))
        })
        .collect();
    let without = services.keys().find(|name| !pinned.contains_key(name));
    if let Some(name) = without {
        return Err(Failure::usage(format!(
            "cannot deploy {name}: its image is not in a registry\n\
             hint: add a `registry` to the manifest, build, and run `xp lock` again"
        )));
    }
    if pinned.is_empty() {
        return Ok(());
    }
    let what = format!("looking for {} by digest", count_of(pinned.len(), "image"));
    session.events.emit(Event::stage(what));
    // The engine is optional here: it only provides the list of insecure registries.
    let facts = session.engine().await.map(|(_, facts)| facts);
    let registry = session.registry(&facts.unwrap_or_default());
    let images: Vec<ImageReference> = pinned.values().map(|(_, image)| image.clone()).collect();
    let mut inventory = Inventory {
        registry: survey::registries(&registry, images.clone()).await,
        ..Inventory::default()
    };
    let known = UnknownImages::check(&inventory.registry);
    if known.is_ok() {
        survey::describe(&registry, &session.layout, images, &mut inventory).await;
    }
    session.events.emit(Event::StageFinished);
    known?;
    let mut problems = Vec::new();
    for (name, (entry, image)) in &pinned {
        if !matches!(inventory.registry.get(image), Some(Presence::Present(_))) {
            let what = if inventory.incomplete.contains(image) {
                format!("{image} is incomplete: the registry does not have all of its parts")
            } else {
                format!("the registry has no {image}")
            };
            problems.push(format!("\n  {name}: {what}"));
            continue;
        }
        let described = image
            .digest()
            .and_then(|digest| inventory.published.get(digest));
        let label = match described {
            Some(Ok(image)) => image.labels.get(LABEL_RECIPE),
            Some(Err(refusal)) => {
                problems.push(format!("\n  {name}: {}", refusal.why));
                continue;
            }
            None => None,
        };
        let recipe = match label.map(|label| label.parse::<Recipe>()).transpose() {
            Ok(recipe) => recipe,
            Err(invalid) if locked.contains(*name) => {
                problems.push(format!("\n  {name}: {image}: {invalid}"));
                continue;
            }
            Err(_) => None,
        };
        if locked.contains(*name) && recipe.is_some_and(|recipe| is_other(recipe, entry)) {
            problems.push(format!(
                "\n  {name}: {image} was built from different inputs than recorded"
            ));
        }
    }
    if problems.is_empty() {
        Ok(())
    } else {
        Err(Failure::rendered(
            Exit::Outside,
            format!(
                "error: some images of this release are no longer in the registry as recorded{}\n\
                 hint: rebuilding creates images with different digests: deploy current ones with `xp deploy … --build`, or use a newer lock",
                problems.concat()
            ),
        ))
    }
}

/// Returns whether a recipe is not that of a lock's entry.
pub fn is_other(recipe: Recipe, entry: &LockedService) -> bool {
    recipe.digest() != entry.recipe && recipe.without(TESTS).digest() != entry.recipe
}
