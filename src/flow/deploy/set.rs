//! Finds the images to deploy: those of a lock, of the current references, or of an earlier deploy.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::base::error::{Exit, Failure, hint_lines};
use crate::base::plural::count_of;
use crate::flow::build::BuildOptions;
use crate::flow::request::{EngineUse, LockRequest, PlanRequest, PlanSource, ReferenceOverrides};
use crate::flow::session::Session;
use crate::flow::sources::locked::Locked;
use crate::flow::{build, lock, plan, survey};
use crate::model::deploy::Deployment;
use crate::model::event::Event;
use crate::model::image::{Digest, ImageIds, ImageReference, PublishedImage};
use crate::model::lock::{Lock, LockedService, copy_hints};
use crate::model::manifest::{EnvironmentName, ServiceName};
use crate::model::plan::{Inventory, Options, Presence, UnknownImages, needed_ids};
use crate::model::recipe::{LABEL_RECIPE, Recipe};
use crate::model::source::ServiceSource;
use crate::store::claim::FolderLock;

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
    /// Working copies as they were built, instead of their current state.
    pub built: &'c BTreeMap<ServiceName, ServiceSource>,
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
            built: self.built.clone(),
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
            check_images(self.session, &kept.services, None).await?;
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
    let found = Locked::read(session, file)?;
    let set = found.set(session, services, kept)?;
    let copies = found.copy_commands(session, services);
    check_images(
        session,
        &set.services,
        Some(&LockedImages { services, copies }),
    )
    .await?;
    Ok(set)
}

/// Returns the images of an earlier deploy.
pub async fn of_deploy(session: &Session, earlier: &Deployment) -> Result<Lock, Failure> {
    check_images(session, &earlier.set.services, None).await?;
    Ok(earlier.set.clone())
}

/// The services whose images come from a lock.
pub struct LockedImages<'l> {
    pub services: &'l BTreeSet<ServiceName>,
    /// The commands that copy images locked in other repositories.
    pub copies: Vec<String>,
}

/// Checks that the registries have the images with these digests, and that those of `locked` have the recorded
/// recipes. Images of a deploy record are not checked for their recipe: `--trust-commit` may have deployed others.
pub async fn check_images(
    session: &Session,
    services: &BTreeMap<ServiceName, LockedService>,
    locked: Option<&LockedImages<'_>>,
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
    let is_locked =
        |name: &ServiceName| locked.is_some_and(|locked| locked.services.contains(name));
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
            Err(invalid) if is_locked(name) => {
                problems.push(format!("\n  {name}: {image}: {invalid}"));
                continue;
            }
            Err(_) => None,
        };
        if is_locked(name) && recipe.is_some_and(|recipe| is_other(recipe, entry)) {
            problems.push(format!(
                "\n  {name}: {image} was built from different inputs than recorded"
            ));
        }
    }
    if problems.is_empty() {
        let of_lock = pinned.into_iter().filter(|(name, _)| is_locked(name));
        let described = of_lock.filter_map(|(name, (_, image))| {
            let digest = image.digest()?.clone();
            let described = inventory.published.remove(&digest)?.ok()?;
            Some((name.clone(), (digest, described)))
        });
        return match mixed_images(&described.collect()) {
            problems if problems.is_empty() => Ok(()),
            problems => Err(Failure::usage(format!(
                "the images of this lock were not built from each other{}\n\
                 hint: git merges the entries of a lock line by line; update them with `xp lock`",
                problems.concat()
            ))),
        };
    }
    let copies = locked.map_or(&[][..], |locked| &locked.copies);
    let (no_longer, hints) = if copies.is_empty() {
        let hint = "rebuilding creates images with different digests: deploy current ones with `xp deploy … --build`, or use a newer lock";
        ("no longer", vec![hint.to_owned()])
    } else {
        ("not", copy_hints(copies))
    };
    Err(Failure::rendered(
        Exit::Outside,
        format!(
            "error: some images of this release are {no_longer} in the registry as recorded{}{}",
            problems.concat(),
            hint_lines(&hints)
        ),
    ))
}

/// Returns a line for each image that was built from another image of a service than the set has.
fn mixed_images(set: &BTreeMap<ServiceName, (Digest, PublishedImage)>) -> Vec<String> {
    let mut problems = Vec::new();
    for (name, (_, image)) in set {
        for (need, id) in needed_ids(&image.labels).unwrap_or_default() {
            let Some((digest, needed)) = need
                .parse()
                .ok()
                .and_then(|need: ServiceName| set.get(&need))
            else {
                continue;
            };
            // It was built from the image of the engine's platform, which may be any of an index.
            let parts = needed.digests().chain([digest]);
            let ids = ImageIds::new(parts.map(Digest::as_str));
            // Without a configuration, the ID in the engine may be another one.
            if needed.config.is_some() && !ids.contains(&id) {
                problems.push(format!(
                    "\n  {name}: its image was built from another image of `{need}`"
                ));
            }
        }
    }
    problems
}

/// Returns whether a recipe is not that of a lock's entry.
pub fn is_other(recipe: Recipe, entry: &LockedService) -> bool {
    let recipe = recipe.without_platforms();
    recipe.digest() != entry.recipe && recipe.without_tests().digest() != entry.recipe
}
