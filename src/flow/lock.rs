//! Locks the current commits and images.

use std::collections::{BTreeMap, BTreeSet};

use super::failure::{manifest_failure, plan_failure};
use super::plan;
use super::request::{EngineUse, LockRequest, PlanRequest, PlanSource, ReferenceOverrides};
use super::session::Session;
use super::sources::commits;
use super::sources::history::HistoryExtent;
use super::sources::local_sources;
use super::survey;
use crate::base::error::Failure;
use crate::base::plural::count_of;
use crate::client::git::GitClient;
use crate::client::registry::RegistryClient;
use crate::model::event::Event;
use crate::model::lock::{Lock, LockProblem, LockedService, UnlockableImages};
use crate::model::manifest::{BaseTracking, Service, ServiceName};
use crate::model::plan::{
    BaseDigests, Folders, Inventory, Options, PlanDraft, ServiceImage, UnknownImages,
};
use crate::model::source::{GitReference, ReferenceOrigin, ServiceSource};
use crate::store::claim::FolderLock;

/// The current lock.
pub struct FreshLock {
    pub lock: Lock,
    /// The images that cannot be locked.
    pub unlockable: UnlockableImages,
    /// The engine's IDs of images that have no digest in a registry.
    pub ids: BTreeMap<ServiceName, String>,
}

/// Returns the current lock.
///
/// Services that are not selected keep their entries of the old lock.
pub async fn fresh(
    session: &Session,
    request: &LockRequest,
    old: &Lock,
    folder_lock: Option<&FolderLock>,
) -> Result<FreshLock, Failure> {
    let manifest = &session.manifest;
    let selected = &request.services;
    let whole = selected.len() == manifest.services.len();
    let concerned = manifest.closure(selected);
    let is_unselected =
        |name: &&ServiceName| !selected.contains(*name) && old.services.contains_key(*name);
    let kept: BTreeSet<ServiceName> = concerned.iter().filter(is_unselected).cloned().collect();
    let unlocked: BTreeSet<ServiceName> = concerned.difference(&kept).cloned().collect();
    let git = session.git()?;
    let in_place = in_place(session, request, &git, folder_lock).await?;
    let is_remote = |name: &&ServiceName| !in_place.contains_key(*name);
    let remote = unlocked.iter().filter(is_remote).cloned().collect();
    let sources =
        commits::resolve(session, &git, &remote, &request.references, folder_lock).await?;
    let mut sources =
        commits::narrow(session, &git, sources, HistoryExtent::Remotes(folder_lock)).await?;
    sources.extend(in_place);
    sources.extend(old.sources("the lock", manifest, &kept, false)?);

    let options = Options {
        test: request.test,
        pinned: old
            .pinned()
            .into_iter()
            .filter(|(name, _)| kept.contains(name))
            .collect(),
        moving_tags: false,
        ..Options::default()
    };
    let variable = |name: &str| session.variable(name);
    let draft = PlanDraft::new(manifest, selected, &sources, &options, &variable)
        .map_err(|error| manifest_failure(session, &error))?;
    let folders = plan::folders(session, &draft)?;
    // The engine is optional here: it only provides the list of insecure registries.
    let connected = match request.engine {
        EngineUse::None => session.engine().await.ok(),
        EngineUse::Unregistered | EngineUse::WorkingCopies => Some(session.engine().await?),
    };
    let (engine, facts) = connected.unzip();
    let registry = session.registry(&facts.unwrap_or_default());
    let mut inventory = in_registries(session, &draft, &folders, &registry).await?;
    if let Some(engine) = engine.filter(|_| request.engine != EngineUse::None) {
        inventory.engine = engine.images(draft.engine_images()).await?;
    }
    let images: BTreeMap<ServiceName, ServiceImage> = selected
        .iter()
        .filter_map(|name| Some((name.clone(), draft.image(name)?.clone())))
        .collect();
    let current = draft
        .compare(&inventory, &folders)
        .map_err(|error| manifest_failure(session, &error))?;
    UnknownImages::check(&inventory.registry)?;
    let mut bases = bases(session, &draft, &inventory);
    let engine_ids: BTreeMap<&ServiceName, String> = images
        .iter()
        .filter_map(|(name, image)| Some((name, inventory.in_engine(&image.image)?.id.clone())))
        .collect();
    // The images that the engine has from their registry.
    let pulled: BTreeSet<&ServiceName> = images
        .iter()
        .filter(|(name, image)| {
            let comparison = current.comparisons.get(*name);
            let digest = comparison.and_then(|it| it.digest.clone());
            let by_digest = digest.map(|digest| image.image.repository().with_digest(digest));
            let by_digest = by_digest.and_then(|image| inventory.in_engine(&image));
            by_digest.is_some_and(|it| engine_ids.get(*name) == Some(&it.id))
        })
        .map(|(name, _)| name)
        .collect();
    if !request.trust_commit {
        // An image with an unknown state is an error here too.
        draft
            .decide(inventory, folders.clone())
            .map_err(|error| plan_failure(session, error))?;
    }

    let mut entries = BTreeMap::new();
    let mut unlockable = Vec::new();
    let mut ids = BTreeMap::new();
    let mut in_engine = BTreeSet::new();
    for name in selected {
        let (Some(service), Some(source), Some(image)) = (
            manifest.services.get(name),
            sources.get(name),
            images.get(name),
        ) else {
            continue;
        };
        let reference = requested_reference(service, source, &request.references);
        let entry = LockedService::current(
            service,
            source,
            reference,
            image.image.clone(),
            &current,
            &folders,
            !request.test,
        );
        let bases = bases.remove(name).unwrap_or_default();
        let entry = entry.map(|entry| entry.with_bases(bases));
        entries.extend(entry.map(|entry| (name.clone(), entry)));
        let variant = image.variant.as_deref();
        let comparison = current.comparisons.get(name);
        let has_registry = image.image.repository().registry().is_some();
        let is_published = has_registry
            && comparison.is_some_and(|it| it.registry.is_usable() && it.digest.is_some());
        let is_engines = match request.engine {
            EngineUse::None => false,
            EngineUse::Unregistered => !has_registry,
            EngineUse::WorkingCopies => {
                let is_in_engine = comparison.is_some_and(|it| it.engine.is_usable());
                let is_registrys = is_published && (pulled.contains(name) || !is_in_engine);
                !has_registry || image.is_local && !is_registrys
            }
        };
        let problem = comparison.and_then(|it| {
            let lookup = if is_engines { &it.engine } else { &it.registry };
            LockProblem::of(lookup, variant, &kept)
        });
        if is_engines {
            in_engine.insert(name.clone());
            ids.extend(engine_ids.get(name).map(|id| (name.clone(), id.clone())));
        }
        let is_trusted = |it: &LockProblem| {
            request.trust_commit
                && matches!(
                    it,
                    LockProblem::Stale(_) | LockProblem::OtherDependencies(_)
                )
        };
        let problem = problem.filter(|it| !is_trusted(it));
        unlockable.extend(problem.map(|problem| (name.clone(), problem)));
    }
    let lock = if whole {
        old.with_services(entries)
    } else {
        old.with(entries)
    };
    let unlockable = UnlockableImages::new(unlockable, options_of(request)).in_engine(in_engine);
    Ok(FreshLock {
        lock,
        unlockable,
        ids,
    })
}

/// Reads the working copies that are built in place.
async fn in_place(
    session: &Session,
    request: &LockRequest,
    git: &GitClient,
    folder_lock: Option<&FolderLock>,
) -> Result<BTreeMap<ServiceName, ServiceSource>, Failure> {
    if request.engine != EngineUse::WorkingCopies {
        return Ok(BTreeMap::new());
    }
    let selected = request.services.iter();
    let others = selected.filter(|name| !request.built.contains_key(*name));
    let others: BTreeSet<ServiceName> = others.cloned().collect();
    let plan = PlanRequest {
        source: PlanSource::WorkingCopies { required: false },
        ..PlanRequest::of_remotes(others, request.references.clone())
    };
    if request.built.is_empty() {
        return local_sources::sources(session, &plan, git, folder_lock).await;
    }
    let mut sources = request.built.clone();
    // Those of needed services count as well: the images were built on top of theirs.
    let concerned = session.manifest.closure(&request.services);
    sources.retain(|name, _| concerned.contains(name));
    let others = local_sources::sources_if_any(session, &plan, git, folder_lock);
    sources.extend(others.await?);
    Ok(sources)
}

/// Returns the base images of the services that track them, as their images in the registry record them.
fn bases(
    session: &Session,
    draft: &PlanDraft<'_>,
    inventory: &Inventory,
) -> BTreeMap<ServiceName, BaseDigests> {
    let services = session.manifest.services.values();
    let tracking = services.filter(|it| it.docker.bases == BaseTracking::Track);
    let bases = tracking.filter_map(|service| {
        let bases = draft.bases_of_image(&service.name, inventory)?.into_iter();
        let bases = bases.map(|base| (base.image, base.digest));
        Some((service.name.clone(), bases.collect()))
    });
    bases.collect()
}

/// Returns `--local`, `--branch` and `--reference` as command-line options.
fn options_of(request: &LockRequest) -> Vec<String> {
    let references = &request.references;
    let local = (request.engine == EngineUse::WorkingCopies).then(|| "--local".to_owned());
    let branch = references.branch.iter();
    let branch = branch.map(|branch| format!("--branch {branch}"));
    let own = references.services.iter();
    let own = own.map(|(name, reference)| format!("--reference {name}={reference}"));
    local.into_iter().chain(branch).chain(own).collect()
}

/// Queries only the registries: images that exist only in the engine cannot be deployed.
async fn in_registries(
    session: &Session,
    draft: &PlanDraft<'_>,
    folders: &Folders,
    registry: &RegistryClient,
) -> Result<Inventory, Failure> {
    let images = draft.images();
    let what = format!("looking for {}", count_of(images.len(), "image"));
    session.events.emit(Event::stage(what));
    let mut inventory = Inventory {
        registry: survey::registries(registry, images).await,
        ..Inventory::default()
    };
    survey::complete(registry, &session.layout, draft, folders, &mut inventory).await;
    session.events.emit(Event::StageFinished);
    Ok(inventory)
}

/// Returns the reference that the service was resolved from.
fn requested_reference(
    service: &Service,
    source: &ServiceSource,
    references: &ReferenceOverrides,
) -> GitReference {
    match (
        source.origin,
        references.of(&service.name),
        &references.branch,
    ) {
        (ReferenceOrigin::Reference, Some(reference), _) => reference.clone(),
        (ReferenceOrigin::Branch, _, Some(branch)) => GitReference::Named(branch.clone()),
        _ => service.source.reference().clone(),
    }
}
