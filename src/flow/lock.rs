//! Locks the current commits and images.

use std::collections::{BTreeMap, BTreeSet};

use super::failure::{manifest_failure, plan_failure};
use super::plan;
use super::request::{LockRequest, ReferenceOverrides};
use super::session::Session;
use super::sources::commits;
use super::sources::history::HistoryExtent;
use super::survey;
use crate::base::error::Failure;
use crate::base::plural::count_of;
use crate::client::registry::RegistryClient;
use crate::model::event::Event;
use crate::model::lock::{Lock, LockProblem, LockedService, UnlockableImages};
use crate::model::manifest::{Service, ServiceName};
use crate::model::plan::{Folders, Inventory, Options, PlanDraft, ServiceImage, UnknownImages};
use crate::model::source::{GitReference, ReferenceOrigin, ServiceSource};
use crate::store::claim::FolderLock;

/// Returns the current lock, and the images that cannot be locked.
///
/// Services that are not selected keep their entries of the old lock.
pub async fn fresh(
    session: &Session,
    request: &LockRequest,
    old: &Lock,
    folder_lock: Option<&FolderLock>,
) -> Result<(Lock, UnlockableImages), Failure> {
    let manifest = &session.manifest;
    let selected = &request.services;
    let whole = selected.len() == manifest.services.len();
    let concerned = manifest.closure(selected);
    let is_unselected =
        |name: &&ServiceName| !selected.contains(*name) && old.services.contains_key(*name);
    let kept: BTreeSet<ServiceName> = concerned.iter().filter(is_unselected).cloned().collect();
    let unlocked: BTreeSet<ServiceName> = concerned.difference(&kept).cloned().collect();
    let git = session.git()?;
    let sources =
        commits::resolve(session, &git, &unlocked, &request.references, folder_lock).await?;
    let mut sources =
        commits::narrow(session, &git, sources, HistoryExtent::Remotes(folder_lock)).await?;
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
    let facts = session.engine().await.map(|(_, facts)| facts);
    let registry = session.registry(&facts.unwrap_or_default());
    let inventory = in_registries(session, &draft, &folders, &registry).await?;
    let images: BTreeMap<ServiceName, ServiceImage> = selected
        .iter()
        .filter_map(|name| Some((name.clone(), draft.image(name)?.clone())))
        .collect();
    let current = draft
        .compare(&inventory, &folders)
        .map_err(|error| manifest_failure(session, &error))?;
    UnknownImages::check(&inventory.registry)?;
    if !request.trust_commit {
        // An image with an unknown state is an error here too.
        draft
            .decide(inventory, folders.clone())
            .map_err(|error| plan_failure(session, error))?;
    }

    let mut entries = BTreeMap::new();
    let mut unlockable = Vec::new();
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
        entries.extend(entry.map(|entry| (name.clone(), entry)));
        let comparison = current.comparisons.get(name);
        let variant = image.variant.as_deref();
        let problem =
            comparison.and_then(|comparison| LockProblem::of(&comparison.registry, variant, &kept));
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
    Ok((
        lock,
        UnlockableImages::new(unlockable, options_of(&request.references)),
    ))
}

/// Returns `--branch` and `--reference` as command-line options.
fn options_of(references: &ReferenceOverrides) -> Vec<String> {
    let branch = references.branch.iter();
    let branch = branch.map(|branch| format!("--branch {branch}"));
    let own = references.services.iter();
    let own = own.map(|(name, reference)| format!("--reference {name}={reference}"));
    branch.chain(own).collect()
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
