//! Removes images, tags and cached files that nothing needs.
//!
//! First everything is read: the repositories, then what names images: locks, environments and references. If any answer
//! cannot be had, nothing is removed. `model::clean` decides.

mod cache;
mod configurations;
mod delete;
mod engine;
mod environments;
mod images;
mod locks;
mod references;
mod registry;
mod state;
mod untagged;

pub use engine::estimate;
pub use images::PlatformContext;

use std::collections::{BTreeMap, BTreeSet};

use time::OffsetDateTime;

use super::platform_engines;
use super::session::Session;
use super::survey;
use super::survey::prefetch;
use crate::base::error::{Exit, Failure};
use crate::base::plural::count_of;
use crate::client::engine::Engine;
use crate::client::registry::RegistryClient;
use crate::model::clean::{
    Action, CleanItem, CleanPlan, Contents, Place, Reason, Repository, RepositoryKind, Roots, Rule,
    SavedPlan, plan,
};
use crate::model::engine::EngineProperties;
use crate::model::image::{ImageReference, ImageRepository, Tag};
use crate::model::manifest::Manifest;
use crate::store::claim::lock;
use delete::{Deletion, PlannedRepository};
use environments::Environments;
use registry::RegistryReader;
use state::CleanState;
use untagged::complete;

/// The number of repositories of former services that are listed.
const MAX_FORMER: usize = 50;

/// What to clean.
#[derive(Debug, Clone)]
pub struct CleanRequest {
    pub places: Vec<Place>,
    pub delete: bool,
    /// The largest number of items to remove.
    pub max_delete: Option<usize>,
    /// The plan to carry out, instead of all of the current one.
    pub saved: Option<SavedPlan>,
}

/// The plan, and what is needed to carry it out.
pub struct PlannedClean {
    pub plan: CleanPlan,
    registry: Option<(RegistryClient, BTreeMap<String, PlannedRepository>)>,
    /// The usual engine, and those of `engines` by docker context.
    engines: Vec<(Option<String>, Engine)>,
    state: CleanState,
}

/// What was not removed although it was planned: the item, and why.
pub type Skipped = Vec<(CleanItem, String)>;

/// Decides what to remove; changes nothing.
///
/// # Errors
///
/// An answer cannot be had, or there is more to remove than allowed.
pub async fn planned(session: &Session, request: &CleanRequest) -> Result<PlannedClean, Failure> {
    let has = |place| request.places.contains(&place);
    let now = OffsetDateTime::now_utc().unix_timestamp();
    let mut planned = PlannedClean {
        plan: CleanPlan::default(),
        registry: None,
        engines: Vec::new(),
        state: CleanState::read(&session.layout),
    };
    if has(Place::Registry) || has(Place::Engine) {
        planned.add_images(session, &request.places, now).await?;
    }
    if has(Place::Cache) {
        planned.plan.extend(cache::plan(session, now).await?);
    }
    if let Some(saved) = &request.saved {
        planned.plan = saved.applied_to(planned.plan)?;
    }
    let count = planned.plan.removals().count();
    if let Some(max) = request
        .max_delete
        .filter(|max| request.delete && count > *max)
    {
        return Err(Failure::usage(format!(
            "{} would be removed, more than `--max-delete {max}`; nothing was removed\n\
             hint: run `xp clean` without `--delete` to see them, and then raise the limit",
            count_of(count, "item")
        )));
    }
    Ok(planned)
}

impl PlannedClean {
    async fn add_images(
        &mut self,
        session: &Session,
        places: &[Place],
        now: i64,
    ) -> Result<(), Failure> {
        let names = repositories(&session.manifest)?;
        let with_registry: BTreeMap<ImageRepository, RepositoryKind> = names
            .iter()
            .filter(|(name, _)| name.registry().is_some())
            .map(|(name, kind)| (name.clone(), kind.clone()))
            .collect();
        let cleans_registry = places.contains(&Place::Registry) && !with_registry.is_empty();
        let cleans_engine = places.contains(&Place::Engine);
        if !cleans_registry && !cleans_engine {
            return Ok(());
        }
        let facts = self.connect(session, cleans_engine).await?;
        let client = session.registry(&facts);
        let reader = RegistryReader {
            session,
            client: &client,
            state: &self.state,
        };
        // Before the roots: what is deployed meanwhile is one of them.
        let mut in_registry = if cleans_registry {
            session
                .unless_interrupted(reader.repositories(&with_registry))
                .await?
        } else {
            Vec::new()
        };
        let roots = roots(session, now).await?;
        if cleans_registry {
            let planned = in_registry
                .iter()
                .map(|it| (it.name.to_string(), planned_of(it)));
            let planned: BTreeMap<String, PlannedRepository> = planned.collect();
            let contents = Contents {
                repositories: std::mem::take(&mut in_registry),
                roots: roots.clone(),
                keep: session.manifest.clean.keep,
                now,
            };
            let completing = complete(session, &reader, contents);
            let contents = session.unless_interrupted(completing).await?;
            let mut in_registry = plan(&contents, Place::Registry);
            in_registry.former = former(session, &client).await;
            self.plan.extend(in_registry);
            self.registry = Some((client, planned));
        }
        for (context, engine) in self.engines.iter().filter(|_| cleans_engine) {
            let mut roots = roots.clone();
            let repositories = engine::read(session, engine, &names, &mut roots).await?;
            let contents = Contents {
                repositories,
                roots,
                keep: session.manifest.clean.keep,
                now,
            };
            let plan = plan(&contents, Place::Engine);
            self.plan.extend(plan.in_engine(context.as_deref()));
        }
        Ok(())
    }

    /// Connects to the engines, and returns the facts of the usual one. If it is not cleaned, it only provides the list of
    /// insecure registries, and the others are not needed.
    async fn connect(
        &mut self,
        session: &Session,
        is_required: bool,
    ) -> Result<EngineProperties, Failure> {
        if !is_required {
            let connected = session.engine().await;
            return Ok(connected.map(|(_, facts)| facts).unwrap_or_default());
        }
        self.connect_all(session).await.map_err(|failure| {
            failure.map_message(|message| {
                format!("{message}\nhint: `xp clean --registry --cache` leaves the engine out")
            })
        })
    }

    async fn connect_all(&mut self, session: &Session) -> Result<EngineProperties, Failure> {
        let (engine, facts) = session.engine().await?;
        self.engines.push((None, engine));
        let contexts: BTreeSet<&String> = session.manifest.engines.values().collect();
        for context in contexts {
            let (engine, _) = platform_engines::connect_to(session, context).await?;
            self.engines.push((Some(context.clone()), engine));
        }
        Ok(facts)
    }

    /// Carries out the plan, and returns the items that stay although they were to be removed.
    ///
    /// # Errors
    ///
    /// A registry or the engine refuses, or does not respond.
    pub async fn run(&mut self, session: &Session) -> Result<Skipped, Failure> {
        let items = |place| -> Vec<CleanItem> {
            let removals = self.plan.removals().filter(|it| it.place == place);
            removals.cloned().collect()
        };
        let (registry, engine, cache) = (
            items(Place::Registry),
            items(Place::Engine),
            items(Place::Cache),
        );
        let mut skipped = Vec::new();
        if let Some((client, planned)) = self.registry.take() {
            let mut deletion = Deletion {
                session,
                client: &client,
                state: &mut self.state,
                planned,
                done: 0,
                skipped: Vec::new(),
            };
            let items: Vec<&CleanItem> = registry.iter().collect();
            session.unless_interrupted(deletion.run(&items)).await?;
            skipped.append(&mut deletion.skipped);
        }
        for (context, connected) in &self.engines {
            let items = engine.iter().filter(|it| it.engine == *context);
            let items: Vec<&CleanItem> = items.collect();
            if items.is_empty() {
                continue;
            }
            let removed = engine::remove(session, connected, &items);
            let (_, stayed) = session.unless_interrupted(removed).await?;
            skipped.extend(stayed);
        }
        if !cache.is_empty() {
            skipped.extend(clean_cache(session, &cache).await?);
        }
        self.keep(&skipped);
        Ok(skipped)
    }

    /// Marks skipped items as kept.
    fn keep(&mut self, skipped: &Skipped) {
        for (item, why) in skipped {
            let mut items = self.plan.items.iter_mut();
            if let Some(found) = items.find(|it| *it == item) {
                found.action = Action::Keep;
                found.reason = Reason::new(Rule::InUse, why.clone());
            }
        }
    }
}

/// Removes entries of the cache folder that may still go, now that no other xp works in it.
async fn clean_cache(session: &Session, planned: &[CleanItem]) -> Result<Skipped, Failure> {
    let locked = async { Ok(lock(&session.layout.lock(), &session.events).await?) };
    let _lock = session.unless_interrupted(locked).await?;
    let now = OffsetDateTime::now_utc().unix_timestamp();
    let current = cache::plan(session, now).await?;
    let (mut items, mut skipped) = (Vec::new(), Vec::new());
    for item in planned {
        let name = (&item.group, &item.name);
        match current
            .items
            .iter()
            .find(|it| (&it.group, &it.name) == name)
        {
            Some(found) if found.action == Action::Keep => {
                skipped.push((item.clone(), found.reason.to_string()));
            }
            Some(_) => items.push(item),
            None => {}
        }
    }
    let (_, stayed) = cache::remove(session, &items).await;
    skipped.extend(stayed);
    Ok(skipped)
}

/// Fails if something was not removed that the user may want to look at.
///
/// # Errors
///
/// Files of the cache folder cannot be removed.
pub fn verdict(skipped: &Skipped) -> Result<(), Failure> {
    let mut files = skipped
        .iter()
        .filter(|(item, _)| item.place == Place::Cache);
    match files.next() {
        Some(_) => Err(Failure::silent(Exit::Outside)),
        None => Ok(()),
    }
}

fn planned_of(repository: &Repository) -> PlannedRepository {
    let images = repository.images.iter();
    PlannedRepository {
        tags: images
            .clone()
            .flat_map(|it| it.tags.iter().cloned())
            .collect(),
        digests: images.map(|it| it.digest.clone()).collect(),
    }
}

/// Returns the repositories that the manifest names: of services, and of the builders in its folder.
fn repositories(manifest: &Manifest) -> Result<BTreeMap<ImageRepository, RepositoryKind>, Failure> {
    let mut names = BTreeMap::new();
    for builder in survey::builder_names(manifest) {
        let (_, folder) = survey::folder_builder(manifest, &builder)?;
        names.insert(folder.image.repository().clone(), RepositoryKind::Builder);
    }
    for service in manifest.services.values() {
        let kind = RepositoryKind::Service(service.name.clone());
        names.insert(service.docker.image.clone(), kind);
    }
    Ok(names)
}

/// Returns everything that names images from outside.
async fn roots(session: &Session, now: i64) -> Result<Roots, Failure> {
    let mut roots = Roots::default();
    let git = session.git()?;
    let since = now - i64::from(session.manifest.clean.keep.days) * 86_400;
    locks::add(session, &git, since, &mut roots).await?;
    Environments::of(&session.manifest)
        .add(session, &mut roots)
        .await?;
    current_builders(&session.manifest, &mut roots)?;
    let found = references::add(session, &git, &mut roots);
    session.unless_interrupted(found).await?;
    Ok(roots)
}

/// Adds the current images of the builders in the manifest's folder.
fn current_builders(manifest: &Manifest, roots: &mut Roots) -> Result<(), Failure> {
    for builder in survey::builder_names(manifest) {
        let (_, folder) = survey::folder_builder(manifest, &builder)?;
        let text = format!("current image of builders/{builder}");
        let reason = Reason::new(Rule::CurrentBuilder, text);
        let services = manifest.services.values();
        let platforms = services.flat_map(|service| &service.docker.platforms);
        let of_platforms = platforms.filter_map(|platform| {
            let tag = folder.image.tag()?.for_platform(platform);
            Some(folder.image.repository().tagged(tag))
        });
        let of_platforms: BTreeSet<ImageReference> = of_platforms.collect();
        let names = folder.newest().into_iter().chain(of_platforms);
        for name in names.chain([folder.image]) {
            roots.name(name, reason.clone());
        }
    }
    Ok(())
}

/// Returns the repositories of former services with their numbers of tags, as far as they can be listed.
async fn former(session: &Session, client: &RegistryClient) -> BTreeMap<String, usize> {
    let former = prefetch::former(&session.layout, &session.manifest).repositories;
    let with_registry = former.into_iter().filter(|it| it.registry().is_some());
    let mut found = BTreeMap::new();
    for repository in with_registry.take(MAX_FORMER) {
        let tags: BTreeSet<Tag> = client.tags(&repository).await.unwrap_or_default();
        if !tags.is_empty() {
            found.insert(repository.to_string(), tags.len());
        }
    }
    found
}
