//! Stages shared by the commands: resolve, inspect, plan.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::builder_folders;
use super::failure::{manifest_failure, plan_failure};
use super::request::{PlanRequest, PlanSource};
use super::session::{Clients, Session};
use crate::base::error::Failure;
use crate::base::plural::count_of;
use crate::client::engine::Engine;
use crate::client::git::GitClient;
use crate::client::retry::Retries;
use crate::execute::attest::AttestTools;
use crate::execute::{ExecuteContext, PlatformEngines, Sources, Toolchains};
use crate::flow::attachments;
use crate::flow::sources::commits::{narrow, resolve};
use crate::flow::sources::history::HistoryExtent;
use crate::flow::sources::local_sources;
use crate::flow::sources::locked::Locked;
use crate::flow::step_results;
use crate::flow::survey;
use crate::flow::survey::prefetch;
use crate::flow::survey::prefetch::RegistryPrefetch;
use crate::flow::verify;
use crate::model::engine::EngineProperties;
use crate::model::event::Event;
use crate::model::image::{EngineImages, ImageQuery, ImageReference, Registry, RegistryPrefix};
use crate::model::manifest::{BuilderImage, ServiceName};
use crate::model::plan::{Folders, Inventory, Options, Plan, PlanDraft, Presence};
use crate::model::source::ServiceSource;
use crate::store::claim::FolderLock;

/// A plan, and the clients that were used for it.
pub struct Planned {
    pub plan: Plan,
    pub clients: Clients,
    /// The source of each service.
    pub sources: BTreeMap<ServiceName, ServiceSource>,
}

/// The selected services with their commits, and the clients to query for images.
pub struct Resolved {
    selected: BTreeSet<ServiceName>,
    sources: BTreeMap<ServiceName, ServiceSource>,
    locked: Option<Locked>,
    options: Options,
    /// Queries of registries and the engine that are already in flight.
    prefetch: RegistryPrefetch,
    pub clients: Clients,
}

impl Resolved {
    /// Returns whether the images are those of a lock.
    pub fn is_locked(&self) -> bool {
        self.locked.is_some()
    }

    /// Drafts a plan.
    pub fn draft<'a>(
        &'a self,
        session: &'a Session,
        variable: &'a (dyn Fn(&str) -> Option<String> + Sync),
    ) -> Result<PlanDraft<'a>, Failure> {
        let (selected, sources) = (&self.selected, &self.sources);
        PlanDraft::new(
            &session.manifest,
            selected,
            sources,
            &self.options,
            variable,
        )
        .map_err(|error| manifest_failure(session, &error))
    }
}

/// Resolves the commits of the selected services, and connects to the engine concurrently.
///
/// `lock` is the lock of `cacheDir` if the caller holds it: missing history may be fetched into an object store only
/// under that lock.
pub async fn resolved(
    session: &Session,
    request: &PlanRequest,
    lock: Option<&FolderLock>,
) -> Result<Resolved, Failure> {
    let git = session.git()?;
    let mut selected = request.services.clone();
    let is_local = matches!(request.source, PlanSource::WorkingCopies { .. });
    let in_place = if is_local {
        local_sources::sources(session, request, &git, lock).await?
    } else {
        BTreeMap::new()
    };
    if is_local {
        selected = in_place.keys().cloned().collect();
    }
    let concerned = session.manifest.closure(&selected);
    let locked = match &request.source {
        PlanSource::Lock(file) => Some(Locked::read(session, file)?),
        _ => None,
    };
    let is_remote = |name: &&ServiceName| !in_place.contains_key(*name);
    let remote: BTreeSet<ServiceName> = concerned.iter().filter(is_remote).cloned().collect();
    let references = &request.references;
    let options = Options {
        push: request.options.push && !is_local,
        moving_tags: locked.is_none(),
        pinned: locked.as_ref().map(Locked::pinned).unwrap_or_default(),
        train: references.branch.clone(),
        ..request.options.clone()
    };
    let sources = async {
        match &locked {
            Some(locked) => locked.sources(session, &concerned),
            None => {
                let sources = resolve(session, &git, &remote, references, lock).await?;
                narrow(session, &git, sources, HistoryExtent::Remotes(lock)).await
            }
        }
    };
    let engine = async {
        let engine = match request.options.fleet {
            Some(_) => session.engine_of_fleet().await?,
            None => session.connect().await?,
        };
        let registry = session.registry_without_engine();
        let (registries, of_builders) = registries(session, &concerned);
        // Registries on this machine are always allowed without TLS. For others the engine's list of insecure
        // registries is needed, which takes a while to query.
        let of_folders = session.manifest.registry.as_ref();
        let of_folders = of_folders.map(RegistryPrefix::registry);
        let of_others = of_folders.into_iter().chain(of_builders);
        let is_elsewhere = registries
            .iter()
            .chain(of_others)
            .any(|it| !it.is_loopback());
        if is_elsewhere {
            registry.allow_insecure(&engine.facts().await?.insecure_registries);
        }
        // Prefetch images while the remotes are queried. With a lock the images are known anyway.
        let mut prefetch = RegistryPrefetch::default();
        if !is_local {
            registry.preconnect(registries);
            if locked.is_none() {
                prefetch = RegistryPrefetch::start(
                    session, &registry, &engine, &selected, references, &options,
                );
            }
        }
        Ok::<_, Failure>((engine, registry, prefetch))
    };
    let (sources, engine) = tokio::join!(sources, engine);
    // Errors of the manifest and the remotes take precedence over an engine that does not run.
    let (mut sources, (engine, registry, prefetch)) = (sources?, engine?);
    sources.extend(in_place);
    Ok(Resolved {
        selected,
        sources,
        locked,
        options,
        prefetch,
        clients: Clients {
            engine,
            registry,
            git,
        },
    })
}

/// Returns the registries of the services' images, and the registries of their external builder images.
fn registries<'s>(
    session: &'s Session,
    services: &BTreeSet<ServiceName>,
) -> (BTreeSet<Registry>, BTreeSet<&'s Registry>) {
    let (mut of_images, mut of_builders) = (BTreeSet::new(), BTreeSet::new());
    for name in services {
        let Some(service) = session.manifest.services.get(name) else {
            continue;
        };
        of_images.extend(service.docker.image.registry().cloned());
        for image in service.images() {
            if let BuilderImage::External(image) = image {
                of_builders.extend(image.repository().registry());
            }
        }
    }
    (of_images, of_builders)
}

/// Plans a build, without touching any file of a service.
pub async fn plan(
    session: &Session,
    request: &PlanRequest,
    lock: Option<&FolderLock>,
) -> Result<Planned, Failure> {
    let resolved = resolved(session, request, lock).await?;
    let variable = |name: &str| session.variable(name);
    let draft = resolved.draft(session, &variable)?;
    let folders = folders(session, &draft)?;
    let mut inventory = inventory(session, &draft, &resolved, &folders).await?;
    if let Some(locked) = &resolved.locked {
        locked.check(session, &draft, &inventory, &folders)?;
    }
    reject_unusable(session, &draft, &folders, &resolved, &mut inventory).await?;
    let plan = decide(session, draft, inventory, folders, &resolved, lock).await?;
    Ok(Planned {
        plan,
        clients: resolved.clients,
        sources: resolved.sources,
    })
}

/// Marks images in registries that must not be used: those that do not verify, or that an interrupted run left.
///
/// # Errors
///
/// A registry does not respond, or images cannot be verified.
pub async fn reject_unusable(
    session: &Session,
    draft: &PlanDraft<'_>,
    folders: &Folders,
    resolved: &Resolved,
    inventory: &mut Inventory,
) -> Result<(), Failure> {
    if session.manifest.supply.verify {
        return verify::reject(session, draft, resolved, inventory).await;
    }
    let registry = &resolved.clients.registry;
    attachments::reject(session, registry, draft, folders, inventory).await
}

/// Decides what to build, and queries the builder images that this requires.
pub async fn decide(
    session: &Session,
    draft: PlanDraft<'_>,
    inventory: Inventory,
    folders: Folders,
    resolved: &Resolved,
    lock: Option<&FolderLock>,
) -> Result<Plan, Failure> {
    let failure = |error| plan_failure(session, error);
    let mut decided = draft.decide(inventory, folders).map_err(failure)?;
    let Clients {
        engine, registry, ..
    } = &resolved.clients;
    if resolved.options.fleet.is_none() {
        let in_engine = engine.images(decided.engine_builders()).await?;
        decided.add_engine_images(in_engine);
    }
    let is_on_fleet = resolved.options.fleet.is_some();
    step_results::add(session, &mut decided, &resolved.clients, lock, is_on_fleet).await?;
    let plugins = survey::labels(registry, &session.layout, decided.missing_plugins()).await;
    decided
        .check_plugins(&plugins)
        .map_err(|error| manifest_failure(session, &error))?;
    let builders = survey::registries(registry, decided.builder_images()).await;
    decided
        .complete(&builders, &session.layout)
        .map_err(failure)
}

/// Reads the builder folders used by the services.
pub fn folders(session: &Session, draft: &PlanDraft<'_>) -> Result<Folders, Failure> {
    let (folders, problems) = builder_folders::read(&session.manifest, &draft.builder_folders());
    if let Some(error) = session.manifest.rejected(problems) {
        return Err(manifest_failure(session, &error));
    }
    draft
        .check_folder_plugins(&folders)
        .map_err(|error| manifest_failure(session, &error))?;
    Ok(folders)
}

/// Queries registries and the engine for images and their recipes.
pub async fn inventory(
    session: &Session,
    draft: &PlanDraft<'_>,
    resolved: &Resolved,
    folders: &Folders,
) -> Result<Inventory, Failure> {
    let registry = &resolved.clients.registry;
    let images = draft.images();
    session.events.emit(Event::stage(format!(
        "looking for {}",
        count_of(images.len(), "image")
    )));
    let mut inventory = Inventory::default();
    if draft.has_platforms() {
        let facts = resolved.clients.engine.facts().await?;
        inventory.engine_platform = facts.platform();
    }
    if draft.queries_registries_first() {
        inventory.registry = in_registries(resolved, images).await;
    } else {
        let in_engine = in_engine(resolved, draft.engine_images());
        let (found, in_engine) = tokio::join!(in_registries(resolved, images), in_engine);
        (inventory.registry, inventory.engine) = (found, in_engine?);
    }
    survey::complete(registry, &session.layout, draft, folders, &mut inventory).await;
    if draft.queries_registries_first() {
        let images = draft.engine_images_after_registries(&inventory, folders);
        let images = images.map_err(|error| manifest_failure(session, &error))?;
        inventory.engine = in_engine(resolved, images).await?;
        survey::bases(registry, draft, &mut inventory).await;
    }
    for unknown in draft.unknown_bases(&inventory) {
        session.events.emit(Event::note(unknown.to_string()));
    }
    let engine = &resolved.clients.engine;
    if resolved.options.fleet.is_none() {
        add_other_names(session, engine, draft, folders, &mut inventory).await?;
    }
    session.events.emit(Event::StageFinished);
    prefetch::save(session, &resolved.sources, registry);
    Ok(inventory)
}

/// Adds images that the engine has under another name, if any image is missing.
async fn add_other_names(
    session: &Session,
    engine: &Engine,
    draft: &PlanDraft<'_>,
    folders: &Folders,
    inventory: &mut Inventory,
) -> Result<(), Failure> {
    let patterns = draft.other_names(inventory);
    if patterns.is_empty() {
        return Ok(());
    }
    let found = engine.images_like(patterns).await?;
    let former = prefetch::former(&session.layout, &session.manifest).repositories;
    draft
        .adopt_other_names(&found, &former, inventory, folders)
        .map_err(|error| manifest_failure(session, &error))
}

/// Queries the registries, using prefetched results if there are any.
async fn in_registries(
    resolved: &Resolved,
    mut images: Vec<ImageReference>,
) -> BTreeMap<ImageReference, Presence> {
    let mut responses = resolved.prefetch.responses_for(&images).await;
    images.retain(|image| !responses.contains_key(image));
    responses.extend(survey::registries(&resolved.clients.registry, images).await);
    responses
}

/// Queries the engine, using prefetched results if there are any.
async fn in_engine(
    resolved: &Resolved,
    mut images: BTreeSet<ImageQuery>,
) -> Result<EngineImages, Failure> {
    // A fleet's engines are not known before its pods run.
    if resolved.options.fleet.is_some() {
        return Ok(EngineImages::default());
    }
    let (prefetched, mut responses) = resolved.prefetch.engine_images().await;
    images.retain(|image| !prefetched.contains(image));
    responses.extend(resolved.clients.engine.images(images).await?);
    Ok(responses)
}

/// Returns the clients and settings for updating working copies.
pub fn sources(session: &Session, git: GitClient, cancel: CancellationToken) -> Sources {
    Sources::new(git, session.events.clone(), cancel, session.layout.clones())
}

/// Returns the context for executing a plan.
pub fn context(
    session: &Session,
    clients: Clients,
    facts: EngineProperties,
    jobs: Option<u16>,
    fail_fast: bool,
) -> ExecuteContext {
    // A child token, because `--fail-fast` stops the run without being an interrupt.
    let cancel = session.cancel.child_token();
    // One more than the number of processors: usually one job waits for the engine or a server.
    let default_jobs = 1 + std::thread::available_parallelism().map_or(1, usize::from);
    ExecuteContext {
        engine: clients.engine,
        facts,
        engines: PlatformEngines::default(),
        path_mapping: Arc::default(),
        sending: Arc::default(),
        toolchains: Toolchains::default(),
        bases: Arc::default(),
        trace: session.trace.clone(),
        registry: clients.registry,
        sources: Arc::new(sources(session, clients.git, cancel.clone())),
        transfers: Retries::silent(session.timeout_settings.transfers),
        transfer_timeout: session.timeout_settings.timeouts.transfer,
        steps: Arc::new(step_results::store(session)),
        uploads: Arc::default(),
        attest: AttestTools::default(),
        provided: Arc::default(),
        events: session.events.clone(),
        layout: session.layout.clone(),
        folder: session.manifest.folder.clone(),
        caller: session.settings.caller.clone(),
        variables: session.settings.variables.clone(),
        cancel,
        jobs: jobs.map_or(default_jobs, usize::from),
        fail_fast,
        fleet: None,
    }
}
