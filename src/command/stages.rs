//! The stages that commands share: resolve, inspect, plan.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tokio_util::sync::CancellationToken;

use super::in_place;
use super::locked::Locked;
use super::session::Session;
use crate::cli::{PlanArgs, References, Selection};
use crate::client::engine::{Engine, EngineFacts};
use crate::client::git::GitClient;
use crate::client::registry::RegistryClient;
use crate::error::{Exit, Failure};
use crate::event::Event;
use crate::execute::lock::FolderLock;
use crate::execute::{Context, Sources};
use crate::history::{self, Part, Reach, Search};
use crate::inspect;
use crate::manifest::{ManifestError, ServiceName};
use crate::plan::{Draft, Folders, Inventory, Options, Plan, PlanError};
use crate::resolve::{self, Request, Resolution, ResolveErrors};
use crate::source::{CommitId, GitReference, Origin, ResolvedReference, ServiceSource};

/// A plan, and the clients with which it was made.
pub struct Planned {
    pub plan: Plan,
    pub engine: Engine,
    pub facts: EngineFacts,
    pub registry: RegistryClient,
    pub git: GitClient,
}

/// Returns the selected services.
pub fn select(session: &Session, selection: &Selection) -> Result<BTreeSet<ServiceName>, Failure> {
    // In a list, a space after a comma is no part of a name.
    let listed = selection.services.iter().map(|name| name.trim());
    let named = selection.names.iter().map(String::as_str);
    let patterns: Vec<&str> = named.chain(listed).collect();
    Ok(session.manifest.select(&patterns)?)
}

/// Finds the commit of each service: one connection a remote.
pub async fn resolve(
    session: &Session,
    git: &GitClient,
    services: &BTreeSet<ServiceName>,
    references: &References,
) -> Result<BTreeMap<ServiceName, ServiceSource>, Failure> {
    let requests = requests(session, services, references)?;
    if requests.is_empty() {
        return Ok(BTreeMap::new());
    }
    let remotes: BTreeSet<_> = requests.values().map(|request| &request.url).collect();
    session.events.emit(Event::StageStarted(format!(
        "resolving {} in {}",
        many(requests.len(), "service"),
        many(remotes.len(), "remote")
    )));
    let resolved = async {
        let found = resolve::resolve(git, requests.values().cloned().collect()).await?;
        if let Some(branch) = &references.branch
            && !found.values().any(|resolution| resolution.is_preferred)
            && requests
                .values()
                .any(|request| request.preferred_branch.is_some())
        {
            // What the selected services do not have may still be the branch of others.
            let all = session.manifest.services.values();
            let urls = all.map(|service| service.git.remote.clone());
            resolve::find_branch(git, branch, urls).await?;
        }
        Ok::<_, ResolveErrors>(found)
    };
    let found = resolved.await;
    session.events.emit(Event::StageFinished);
    Ok(origins(session, &requests, found?))
}

/// Returns what each service asks of its remote.
pub fn requests(
    session: &Session,
    services: &BTreeSet<ServiceName>,
    references: &References,
) -> Result<BTreeMap<ServiceName, Request>, Failure> {
    let manifest = &session.manifest;
    let mut own = BTreeMap::new();
    for (name, reference) in &references.references {
        manifest.select(&[name.as_str()])?;
        if !services.contains(name) {
            return Err(Failure::usage(format!(
                "`--reference {name}={reference}` has no effect: `{name}` is not selected, nor needed by what is"
            )));
        }
        if let Some(other) = own.insert(name.clone(), reference.clone())
            && other != *reference
        {
            return Err(Failure::usage(format!(
                "`--reference {name}={other}` contradicts `--reference {name}={reference}`"
            )));
        }
    }
    let mut requests = BTreeMap::new();
    for name in services {
        let Some(service) = manifest.services.get(name) else {
            continue;
        };
        let usual = &service.git.reference;
        // What was said for one service counts more than what was said for all.
        let (reference, preferred_branch) = match own.remove(name) {
            Some(reference) => (reference, None),
            None => (usual.clone(), references.branch.clone()),
        };
        // Those that need it have another image where it is not at the manifest's commit. For a bare
        // commit alone the remote is not asked otherwise.
        let is_needed = || {
            manifest
                .dependents(name)
                .any(|name| services.contains(name))
        };
        let is_commit = matches!(reference, GitReference::Commit(_));
        let asks_for_both = reference != *usual && (!is_commit || is_needed());
        let normal = asks_for_both.then(|| usual.clone());
        let request = Request {
            service: name.to_string(),
            url: service.git.remote.clone(),
            reference,
            preferred_branch,
            normal,
        };
        requests.insert(name.clone(), request);
    }
    Ok(requests)
}

/// Says of each service that was found who named its reference.
pub fn origins(
    session: &Session,
    requests: &BTreeMap<ServiceName, Request>,
    mut found: BTreeMap<String, Resolution>,
) -> BTreeMap<ServiceName, ServiceSource> {
    let usual = |name| Some(&session.manifest.services.get(name)?.git.reference);
    let sources = requests.iter().filter_map(|(name, request)| {
        let resolution = found.remove(name.as_str())?;
        let origin = if resolution.is_preferred {
            Origin::Branch
        } else if usual(name) == Some(&request.reference) {
            Origin::Manifest
        } else {
            Origin::Reference
        };
        let source = ServiceSource {
            normal: resolution.normal,
            ..ServiceSource::of(resolution.reference, origin)
        };
        Some((name.clone(), source))
    });
    sources.collect()
}

/// Finds what is built of each service with `git.path`: the last commit that touched its folders.
///
/// What cannot be told within that reach is left out.
pub async fn narrow(
    session: &Session,
    git: &GitClient,
    sources: BTreeMap<ServiceName, ServiceSource>,
    reach: Reach<'_>,
) -> Result<BTreeMap<ServiceName, ServiceSource>, Failure> {
    let mut parts = Vec::new();
    for (name, source) in &sources {
        let Some(service) = session.manifest.services.get(name) else {
            continue;
        };
        if service.git.path.is_none() {
            continue;
        }
        let part = |tip: &ResolvedReference, may_be_missing| Part {
            service: name.clone(),
            remote: service.git.remote.clone(),
            dir: session.manifest.folder.join(&service.dir),
            tip: tip.clone(),
            paths: service.git.paths(),
            may_be_missing,
        };
        parts.push(part(&source.tip, false));
        // A service that comes with a branch is not there otherwise.
        parts.extend(source.normal.iter().map(|normal| part(normal, true)));
    }
    let search = Search {
        client: git,
        layout: &session.layout,
        events: &session.events,
        cancel: &session.cancel,
        reach,
    };
    let found = history::last_touched(&search, parts).await?;
    if !found.wrong.is_empty() {
        let error = session.manifest.wrong_paths(found.wrong);
        return Err(manifest_failure(session, &error));
    }
    let narrowed = sources.into_iter().filter_map(|(name, mut source)| {
        let service = session.manifest.services.get(&name)?;
        if service.git.path.is_some() {
            let commit_of = |tip: CommitId| found.commits.get(&(name.clone(), tip)).copied();
            source.commit = commit_of(source.tip.commit)?;
            source.normal = source.normal.and_then(|normal| {
                let commit = commit_of(normal.commit)?;
                Some(ResolvedReference { commit, ..normal })
            });
        }
        Some((name, source))
    });
    Ok(narrowed.collect())
}

/// What is asked for, with the commits that it stands for, and the clients to look for images.
pub struct Resolved {
    selected: BTreeSet<ServiceName>,
    sources: BTreeMap<ServiceName, ServiceSource>,
    locked: Option<Locked>,
    options: Options,
    pub engine: Engine,
    pub facts: EngineFacts,
    pub registry: RegistryClient,
    pub git: GitClient,
}

impl Resolved {
    /// Drafts a plan.
    pub fn draft<'a>(
        &'a self,
        session: &'a Session,
        variable: &'a dyn Fn(&str) -> Option<String>,
    ) -> Result<Draft<'a>, Failure> {
        let (selected, sources) = (&self.selected, &self.sources);
        Draft::new(
            &session.manifest,
            selected,
            sources,
            &self.options,
            variable,
        )
        .map_err(|error| manifest_failure(session, &error))
    }
}

/// Finds the commits of what is selected, and the engine meanwhile.
///
/// `lock` is that of `cacheDir`, where the caller holds it: an object store that lacks a history is
/// written to under it alone.
pub async fn resolved(
    session: &Session,
    args: &PlanArgs,
    lock: Option<&FolderLock>,
) -> Result<Resolved, Failure> {
    if let Some(tag) = args
        .images
        .tags
        .iter()
        .find(|it| it.named_commit().is_some())
    {
        return Err(Failure::usage(format!(
            "`--tag {tag}` would take the place of a commit's image, which has that tag\n\
             hint: put something before it, such as `--tag build-{tag}`"
        )));
    }
    let git = session.git()?;
    let mut selected = select(session, &args.selection)?;
    let in_place = match args.local {
        true => in_place::sources(session, args, &git, &selected, lock).await?,
        false => BTreeMap::new(),
    };
    if args.local {
        selected = in_place.keys().cloned().collect();
    }
    let concerned = session.manifest.closure(&selected);
    let locked = Locked::read(session, &args.locked)?;
    let is_remote = |name: &&ServiceName| !in_place.contains_key(*name);
    let remote: BTreeSet<ServiceName> = concerned.iter().filter(is_remote).cloned().collect();
    let sources = async {
        match &locked {
            Some(locked) => locked.sources(session, &concerned),
            None => {
                let sources = resolve(session, &git, &remote, &args.references).await?;
                narrow(session, &git, sources, Reach::Remotes(lock)).await
            }
        }
    };
    let (sources, engine) = tokio::join!(sources, session.engine());
    // A manifest or a remote that is wrong is said before an engine that does not run.
    let (mut sources, (engine, facts)) = (sources?, engine?);
    sources.extend(in_place);
    let registry = session.registry(&facts);
    let options = Options {
        force: args.images.force,
        pull: !args.images.no_pull,
        push: !args.images.no_push && !args.local,
        test: !args.images.no_test,
        trust_commit: args.images.trust_commit,
        moving_tags: locked.is_none(),
        pinned: locked.as_ref().map(Locked::pinned).unwrap_or_default(),
        tags: args.images.tags.clone(),
        train: args.references.branch.clone(),
    };
    Ok(Resolved {
        selected,
        sources,
        locked,
        options,
        engine,
        facts,
        registry,
        git,
    })
}

/// Plans a build: everything that is decided without touching a file of a service.
pub async fn plan(
    session: &Session,
    args: &PlanArgs,
    lock: Option<&FolderLock>,
) -> Result<Planned, Failure> {
    let resolved = resolved(session, args, lock).await?;
    let variable = |name: &str| session.variable(name);
    let draft = resolved.draft(session, &variable)?;
    let folders = folders(session, &draft)?;
    let inventory = inventory(session, &draft, &resolved).await?;
    if let Some(locked) = &resolved.locked {
        locked
            .check(session, &resolved.registry, &draft, &inventory, &folders)
            .await?;
    }
    let plan = decide(session, draft, inventory, folders, &resolved.registry).await?;
    let Resolved {
        engine,
        facts,
        registry,
        git,
        ..
    } = resolved;
    Ok(Planned {
        plan,
        engine,
        facts,
        registry,
        git,
    })
}

/// Decides by what was found, and looks for the builder images that it takes.
pub async fn decide(
    session: &Session,
    draft: Draft<'_>,
    inventory: Inventory,
    folders: Folders,
    registry: &RegistryClient,
) -> Result<Plan, Failure> {
    let failure = |error| plan_failure(session, error);
    let decided = draft.decide(inventory, folders).map_err(failure)?;
    let builders = inspect::registries(registry, decided.builder_images()).await;
    decided
        .complete(&builders, &session.layout)
        .map_err(failure)
}

/// Reads the folders of the builders that services' scripts run in.
pub fn folders(session: &Session, draft: &Draft<'_>) -> Result<Folders, Failure> {
    let names = draft.builder_folders().into_iter();
    let folders = names.map(|name| inspect::folder_builder(&session.manifest, &name));
    Ok(folders.collect::<Result<_, _>>()?)
}

/// Asks registries and engine what they have, and what it was built from.
pub async fn inventory(
    session: &Session,
    draft: &Draft<'_>,
    resolved: &Resolved,
) -> Result<Inventory, Failure> {
    let (engine, registry) = (&resolved.engine, &resolved.registry);
    let images = draft.images();
    session.events.emit(Event::StageStarted(format!(
        "looking for {}",
        many(images.len(), "image")
    )));
    let (found, in_engine) = tokio::join!(inspect::registries(registry, images), engine.images());
    let mut inventory = Inventory {
        registry: found,
        labels: HashMap::new(),
        engine: in_engine?,
    };
    let unlabelled = draft.unlabelled(&inventory);
    inventory.labels = inspect::labels(registry, &session.layout, unlabelled).await;
    session.events.emit(Event::StageFinished);
    Ok(inventory)
}

/// Returns what working copies are brought up to date with.
pub fn sources(session: &Session, git: GitClient, cancel: CancellationToken) -> Sources {
    Sources::new(git, session.events.clone(), cancel, session.layout.clones())
}

/// Returns what the steps of a plan are carried out with.
pub fn context(
    session: &Session,
    engine: Engine,
    facts: EngineFacts,
    registry: RegistryClient,
    git: GitClient,
    jobs: Option<u16>,
    fail_fast: bool,
) -> Context {
    // A token of its own: `--fail-fast` stops the run, and is no interrupt.
    let cancel = session.cancel.child_token();
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    Context {
        engine,
        facts,
        registry,
        sources: sources(session, git, cancel.clone()),
        events: session.events.clone(),
        layout: session.layout.clone(),
        folder: session.manifest.folder.clone(),
        caller: session.settings.caller.clone(),
        cancel,
        jobs: jobs.map_or(processors, usize::from),
        fail_fast,
    }
}

/// Shows a manifest's error in the colours that were asked for.
pub fn manifest_failure(session: &Session, error: &ManifestError) -> Failure {
    Failure::rendered(Exit::Usage, error.render(session.settings.report.color))
}

/// Shows an error of planning, a manifest's with its lines.
pub fn plan_failure(session: &Session, error: PlanError) -> Failure {
    match error {
        PlanError::Manifest(error) => manifest_failure(session, &error),
        PlanError::Unknown(error) => error.into(),
        PlanError::Recipe(error) => error.into(),
    }
}

/// Returns a count and its noun.
pub fn many(count: usize, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}
