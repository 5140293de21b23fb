//! Which services are meant, and which commits of them.

use std::collections::{BTreeMap, BTreeSet};

use super::failure::manifest_failure;
use super::many;
use super::session::Session;
use crate::cli::{References, Selection};
use crate::client::git::GitClient;
use crate::error::Failure;
use crate::event::Event;
use crate::history::{self, Extent, Part, Search};
use crate::manifest::ServiceName;
use crate::resolve::{self, Request, Resolution, ResolveErrors};
use crate::source::{CommitId, GitReference, Origin, ResolvedReference, ServiceSource};

/// Returns the selected services.
pub fn select(session: &Session, selection: &Selection) -> Result<BTreeSet<ServiceName>, Failure> {
    Ok(session.manifest.select(&selection.patterns())?)
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
                "`--reference {name}={reference}` has no effect: `{name}` is not selected, nor needed by what is\n\
                 hint: name `{name}` as a service too, or leave the option out"
            )));
        }
        if let Some(other) = own.insert(name.clone(), reference.clone())
            && other != *reference
        {
            return Err(Failure::usage(format!(
                "`--reference {name}={other}` contradicts `--reference {name}={reference}`\n\
                 hint: leave out one of them"
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
/// What cannot be told within that extent is left out.
pub async fn narrow(
    session: &Session,
    git: &GitClient,
    sources: BTreeMap<ServiceName, ServiceSource>,
    extent: Extent<'_>,
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
            submodules: service.git.submodules,
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
        extent,
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
