//! `xp lock`

use std::collections::{BTreeMap, BTreeSet};

use super::many;
use crate::base::error::{Exit, Failure};
use crate::cli::{LockArgs, References};
use crate::client::registry::RegistryClient;
use crate::flow::failure::{manifest_failure, plan_failure};
use crate::flow::plan;
use crate::flow::session::Session;
use crate::flow::sources::commits;
use crate::flow::sources::history::HistoryExtent;
use crate::flow::sources::locked::{lock_failure, lock_file, lock_name};
use crate::flow::survey;
use crate::model::event::Event;
use crate::model::lock::{Lock, LockedService, Unlockable, Unlocked};
use crate::model::manifest::{Service, ServiceName};
use crate::model::plan::{Draft, Folders, Inventory, Options, ServiceImage, UnknownImages};
use crate::model::source::{GitReference, Origin, ServiceSource};
use crate::store::claim::{FolderLock, lock};
use crate::store::lock_file::LockFile;

/// Writes the lock, or checks whether it is up to date.
pub async fn run(session: &Session, args: &LockArgs) -> Result<(), Failure> {
    let path = lock_file(session, args.lock_file.as_deref());
    let name = lock_name(session, &path);
    if args.check {
        let file = LockFile::load(&path).map_err(|error| lock_failure(session, &error))?;
        let (fresh, unlocked) = session
            .unless_interrupted(fresh(session, args, &file.lock, None))
            .await?;
        session.reporter.finish();
        return check(session, &name, &file.lock, &fresh, &unlocked);
    }
    // Held from reading to writing: otherwise concurrent runs would lose each other's changes.
    let locked = async { Ok(lock(&session.layout.lock(), &session.events).await?) };
    let folder_lock = session.unless_interrupted(locked).await?;
    let file = LockFile::load_or_begin(&path).map_err(|error| lock_failure(session, &error))?;
    let (fresh, unlocked) = session
        .unless_interrupted(fresh(session, args, &file.lock, Some(&folder_lock)))
        .await?;
    session.reporter.finish();
    if !unlocked.is_empty() {
        return Err(unlocked.into());
    }
    let is_new = !file.exists();
    let is_changed = file.replace(&fresh)?;
    if session.settings.report.quiet {
        return Ok(());
    }
    let table = file.lock.difference_table(&fresh);
    let count = many(fresh.services.len(), "service");
    let end = match (is_new, is_changed) {
        (true, _) => format!("created {name} with {count}\n"),
        (false, true) => format!("updated {name} with {count}\n"),
        (false, false) => format!("{name} is up to date ({count})\n"),
    };
    super::print(&format!("{table}{end}"))
}

fn check(
    session: &Session,
    name: &str,
    old: &Lock,
    fresh: &Lock,
    unlocked: &Unlocked,
) -> Result<(), Failure> {
    let table = old.difference_table(fresh);
    if table.is_empty() {
        if session.settings.report.quiet {
            return Ok(());
        }
        let count = many(fresh.services.len(), "service");
        return super::print(&format!("{name} is up to date ({count})\n"));
    }
    super::print(&table)?;
    Err(Failure::rendered(
        Exit::ServiceFailed,
        format!("error: {name} is out of date\nhint: {}", unlocked.update()),
    ))
}

/// Returns the current lock, and the images that cannot be locked.
///
/// Services that are not selected keep their entries of the old lock.
pub async fn fresh(
    session: &Session,
    args: &LockArgs,
    old: &Lock,
    folder_lock: Option<&FolderLock>,
) -> Result<(Lock, Unlocked), Failure> {
    let manifest = &session.manifest;
    let selected = commits::select(session, &args.selection)?;
    let whole = selected.len() == manifest.services.len();
    let concerned = manifest.closure(&selected);
    let is_unselected =
        |name: &&ServiceName| !selected.contains(*name) && old.services.contains_key(*name);
    let kept: BTreeSet<ServiceName> = concerned.iter().filter(is_unselected).cloned().collect();
    let unlocked: BTreeSet<ServiceName> = concerned.difference(&kept).cloned().collect();
    let git = session.git()?;
    let sources = commits::resolve(session, &git, &unlocked, &args.references).await?;
    let mut sources =
        commits::narrow(session, &git, sources, HistoryExtent::Remotes(folder_lock)).await?;
    sources.extend(old.sources("the lock", manifest, &kept, false)?);

    let options = Options {
        test: !args.no_test,
        pinned: old
            .pinned()
            .into_iter()
            .filter(|(name, _)| kept.contains(name))
            .collect(),
        moving_tags: false,
        ..Options::default()
    };
    let variable = |name: &str| session.variable(name);
    let draft = Draft::new(manifest, &selected, &sources, &options, &variable)
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
    if !args.trust_commit {
        // An image with an unknown state is an error here too.
        draft
            .decide(inventory, folders.clone())
            .map_err(|error| plan_failure(session, error))?;
    }

    let mut entries = BTreeMap::new();
    let mut unlockable = Vec::new();
    for name in &selected {
        let (Some(service), Some(source), Some(image)) = (
            manifest.services.get(name),
            sources.get(name),
            images.get(name),
        ) else {
            continue;
        };
        let reference = requested_reference(service, source, &args.references);
        let entry = LockedService::today(
            service,
            source,
            reference,
            image.image.clone(),
            &current,
            &folders,
            args.no_test,
        );
        entries.extend(entry.map(|entry| (name.clone(), entry)));
        let comparison = current.comparisons.get(name);
        let variant = image.variant.as_deref();
        let problem =
            comparison.and_then(|comparison| Unlockable::of(&comparison.registry, variant, &kept));
        let is_trusted = |it: &Unlockable| {
            args.trust_commit && matches!(it, Unlockable::Stale(_) | Unlockable::Apart(_))
        };
        let problem = problem.filter(|it| !is_trusted(it));
        unlockable.extend(problem.map(|problem| (name.clone(), problem)));
    }
    let lock = if whole {
        old.replaced_by(entries)
    } else {
        old.with(entries)
    };
    Ok((
        lock,
        Unlocked::new(unlockable, options_of(&args.references)),
    ))
}

/// Returns `--branch` and `--reference` as command-line options.
fn options_of(references: &References) -> Vec<String> {
    let branch = references.branch.iter();
    let branch = branch.map(|branch| format!("--branch {branch}"));
    let own = references.references.iter();
    let own = own.map(|(name, reference)| format!("--reference {name}={reference}"));
    branch.chain(own).collect()
}

/// Queries only the registries: images that exist only in the engine cannot be deployed.
async fn in_registries(
    session: &Session,
    draft: &Draft<'_>,
    folders: &Folders,
    registry: &RegistryClient,
) -> Result<Inventory, Failure> {
    let images = draft.images();
    let what = format!("looking for {}", many(images.len(), "image"));
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
    references: &References,
) -> GitReference {
    let own = references
        .references
        .iter()
        .find(|(name, _)| *name == service.name);
    match (source.origin, own, &references.branch) {
        (Origin::Reference, Some((_, reference)), _) => reference.clone(),
        (Origin::Branch, _, Some(branch)) => GitReference::Named(branch.clone()),
        _ => service.git.reference.clone(),
    }
}
