//! Resolves the selected services to commits.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::error::Failure;
use crate::base::plural::count_of;
use crate::client::git::GitClient;
use crate::flow::failure::manifest_failure;
use crate::flow::request::ReferenceOverrides;
use crate::flow::session::Session;
use crate::flow::sources::history;
use crate::flow::sources::history::{HistoryExtent, HistorySearch, PartialService};
use crate::flow::sources::plugin;
use crate::flow::sources::resolve;
use crate::flow::sources::resolve::{
    RequestedRemote, Resolution, ResolveError, ResolveErrors, ResolveRequest,
};
use crate::model::event::Event;
use crate::model::manifest::ServiceName;
use crate::model::source::{
    CommitId, GitReference, RefName, ReferenceOrigin, ResolvedReference, ServiceSource,
};
use crate::store::claim::FolderLock;

/// Resolves the commit of each service, with one connection per remote.
pub async fn resolve(
    session: &Session,
    git: &GitClient,
    services: &BTreeSet<ServiceName>,
    references: &ReferenceOverrides,
    lock: Option<&FolderLock>,
) -> Result<BTreeMap<ServiceName, ServiceSource>, Failure> {
    let requests = requests(session, services, references)?;
    if requests.is_empty() {
        return Ok(BTreeMap::new());
    }
    let services = requests.keys();
    let services = services.filter_map(|name| session.manifest.services.get(name));
    let remotes: BTreeSet<String> = services
        .map(|service| service.source.remote().to_string())
        .collect();
    session.events.emit(Event::stage(format!(
        "resolving {} in {}",
        count_of(requests.len(), "service"),
        count_of(remotes.len(), "remote")
    )));
    let resolved = async {
        let (found, errors) = resolve_each(session, git, lock, &requests).await?;
        if !errors.is_empty() {
            return Err(ResolveErrors(errors).into());
        }
        if let Some(branch) = &references.branch
            && !found.values().any(|resolution| resolution.is_from_branch)
            && requests
                .values()
                .any(|request| request.preferred_branch.is_some())
        {
            find_branch(session, git, lock, branch).await?;
        }
        Ok::<_, Failure>(found)
    };
    let found = resolved.await;
    session.events.emit(Event::StageFinished);
    Ok(origins(session, &requests, found?))
}

/// Resolves references of git remotes and of plugins, concurrently.
///
/// # Errors
///
/// A plugin cannot be run. Failures of remotes are returned with the results.
pub async fn resolve_each(
    session: &Session,
    git: &GitClient,
    lock: Option<&FolderLock>,
    requests: &BTreeMap<ServiceName, ResolveRequest>,
) -> Result<(BTreeMap<String, Resolution>, Vec<ResolveError>), Failure> {
    let (of_git, of_plugins) = tokio::join!(
        resolve::resolve_each(git, requests.values().cloned().collect()),
        plugin::resolve_each(session, lock, requests.values())
    );
    let ((mut found, mut errors), (more, failed)) = (of_git, of_plugins?);
    found.extend(more);
    errors.extend(failed);
    Ok((found, errors))
}

/// Checks that a repository of any service has the branch of `--branch`: then it is not a typo.
///
/// # Errors
///
/// No repository has it.
pub async fn find_branch(
    session: &Session,
    git: &GitClient,
    lock: Option<&FolderLock>,
    branch: &RefName,
) -> Result<(), Failure> {
    let all = session.manifest.services.values();
    let of_git = all.filter_map(|service| service.source.git());
    let urls = of_git.map(|git| git.remote.clone());
    let found = resolve::find_branch(git, branch, urls).await;
    if found.is_err() && plugin::has_branch(session, lock, branch).await? {
        return Ok(());
    }
    Ok(found?)
}

/// Returns the reference to resolve for each service.
pub fn requests(
    session: &Session,
    services: &BTreeSet<ServiceName>,
    references: &ReferenceOverrides,
) -> Result<BTreeMap<ServiceName, ResolveRequest>, Failure> {
    let manifest = &session.manifest;
    let mut own = BTreeMap::new();
    for (name, reference) in &references.services {
        manifest.select(&[name.as_str()])?;
        if !services.contains(name) {
            return Err(Failure::usage(format!(
                "`--reference {name}={reference}` has no effect: `{name}` is neither selected nor a dependency of a selected service\n\
                 hint: select `{name}` too, or omit the option"
            )));
        }
        if let Some(other) = own.insert(name.clone(), reference.clone())
            && other != *reference
        {
            return Err(Failure::usage(format!(
                "`--reference {name}={other}` conflicts with `--reference {name}={reference}`\n\
                 hint: remove one of them"
            )));
        }
    }
    let mut requests = BTreeMap::new();
    for name in services {
        let Some(service) = manifest.services.get(name) else {
            continue;
        };
        let usual = service.source.reference();
        // `--reference` for one service takes precedence over `--branch`.
        let (reference, preferred_branch) = match own.remove(name) {
            Some(reference) => (reference, None),
            None => (usual.clone(), references.branch.clone()),
        };
        // Dependents get a different image if the service is not at the manifest's commit. A bare commit
        // without dependents needs no query to the remote.
        let has_dependents = || {
            manifest
                .dependents(name)
                .any(|name| services.contains(name))
        };
        let is_commit = matches!(reference, GitReference::Commit(_));
        let asks_for_both = reference != *usual && (!is_commit || has_dependents());
        let manifest_reference = asks_for_both.then(|| usual.clone());
        let request = ResolveRequest {
            service: name.to_string(),
            remote: RequestedRemote::of(service),
            reference,
            preferred_branch,
            manifest_reference,
        };
        requests.insert(name.clone(), request);
    }
    Ok(requests)
}

/// Converts resolved references to sources, recording where each reference came from.
pub fn origins(
    session: &Session,
    requests: &BTreeMap<ServiceName, ResolveRequest>,
    mut found: BTreeMap<String, Resolution>,
) -> BTreeMap<ServiceName, ServiceSource> {
    let usual = |name| Some(session.manifest.services.get(name)?.source.reference());
    let sources = requests.iter().filter_map(|(name, request)| {
        let resolution = found.remove(name.as_str())?;
        let origin = if resolution.is_from_branch {
            ReferenceOrigin::Branch
        } else if usual(name) == Some(&request.reference) {
            ReferenceOrigin::Manifest
        } else {
            ReferenceOrigin::Reference
        };
        let source = ServiceSource {
            manifest_reference: resolution.manifest_reference,
            commit_time: resolution.commit_time,
            ..ServiceSource::of(resolution.reference, origin)
        };
        Some((name.clone(), source))
    });
    sources.collect()
}

/// Finds the commit to build for each service with `git.path` or `git.exclude`: the last one that touched its files.
///
/// Services are omitted if their commit cannot be determined within the extent.
pub async fn narrow(
    session: &Session,
    git: &GitClient,
    sources: BTreeMap<ServiceName, ServiceSource>,
    extent: HistoryExtent<'_>,
) -> Result<BTreeMap<ServiceName, ServiceSource>, Failure> {
    let mut parts = Vec::new();
    for (name, source) in &sources {
        let Some(service) = session.manifest.services.get(name) else {
            continue;
        };
        let Some(repository) = service
            .source
            .git()
            .filter(|git| !git.selection().is_whole())
        else {
            continue;
        };
        let part = |tip: &ResolvedReference, may_be_missing| PartialService {
            service: name.clone(),
            remote: repository.remote.clone(),
            dir: session.manifest.folder.join(&service.dir),
            tip: tip.clone(),
            selection: repository.selection(),
            submodules: repository.submodules,
            may_be_missing,
        };
        parts.push(part(&source.tip, false));
        // A service added on the branch does not exist at the manifest's reference.
        parts.extend(
            source
                .manifest_reference
                .iter()
                .map(|manifest_reference| part(manifest_reference, true)),
        );
    }
    let search = HistorySearch {
        client: git,
        layout: &session.layout,
        events: &session.events,
        cancel: &session.cancel,
        extent,
    };
    let found = history::last_touched(&search, parts).await?;
    if !found.wrong.is_empty() {
        let error = session.manifest.invalid_git_paths(found.wrong);
        return Err(manifest_failure(session, &error));
    }
    let narrowed = sources.into_iter().filter_map(|(name, mut source)| {
        let service = session.manifest.services.get(&name)?;
        if !service.source.selection().is_whole() {
            let commit_of = |tip: CommitId| found.commits.get(&(name.clone(), tip)).copied();
            source.commit = commit_of(source.tip.commit)?;
            source.manifest_reference = source.manifest_reference.and_then(|manifest_reference| {
                let commit = commit_of(manifest_reference.commit)?;
                Some(ResolvedReference {
                    commit,
                    ..manifest_reference
                })
            });
        }
        Some((name, source))
    });
    Ok(narrowed.collect())
}
