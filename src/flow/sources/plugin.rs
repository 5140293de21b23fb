//! Resolves references of repositories that plugins read: one container per plugin.

use std::collections::BTreeMap;

use futures_util::future::join_all;

use super::resolve::{RequestedRemote, Resolution, ResolveError, ResolveRequest};
use crate::base::error::Failure;
use crate::base::plural::abbreviated;
use crate::execute::ExecuteContext;
use crate::execute::scm::{self, PluginCallError};
use crate::execute::secrets;
use crate::flow::failure::manifest_failure;
use crate::flow::plan;
use crate::flow::session::{Clients, Session};
use crate::flow::survey;
use crate::flow::workbench::{ImageNeed, with_images};
use crate::model::engine::EngineProperties;
use crate::model::manifest::error::SourceProblem;
use crate::model::manifest::{BuilderImage, ScmPlugin, ServiceName};
use crate::model::plan::{Folders, PluginCall, builder_image, source_problems};
use crate::model::plugin::{PluginDescription, PluginUse, problems};
use crate::model::source::{
    GitReference, PluginAnswers, PluginQuery, PluginReference, RefName, ResolvedReference,
};
use crate::store::claim::FolderLock;

/// The number of services that a message names.
const NAMED: usize = 3;

/// A service whose source a plugin reads.
struct PluginRequest {
    service: ServiceName,
    plugin: ScmPlugin,
    request: ResolveRequest,
}

/// Resolves the references of services whose source comes from a plugin; others are skipped.
///
/// A plugin's image that is missing is pulled or built first. `lock` is the lock of `cacheDir` if the caller holds it.
///
/// # Errors
///
/// A secret is missing, or a plugin's image cannot be provided. Failures of plugins are returned with the results.
pub async fn resolve_each(
    session: &Session,
    lock: Option<&FolderLock>,
    requests: impl IntoIterator<Item = &ResolveRequest>,
) -> Result<(BTreeMap<String, Resolution>, Vec<ResolveError>), Failure> {
    let mut plugins: Vec<Vec<PluginRequest>> = Vec::new();
    for request in requests {
        let (RequestedRemote::Plugin(plugin), Ok(service)) =
            (&request.remote, request.service.parse())
        else {
            continue;
        };
        let request = PluginRequest {
            service,
            plugin: (**plugin).clone(),
            request: request.clone(),
        };
        // A container has one set of credentials and one network.
        let is_same = |other: &&mut Vec<PluginRequest>| {
            let other = &other[0].plugin;
            let plugin = &request.plugin;
            other.image == plugin.image
                && other.secrets == plugin.secrets
                && other.network == plugin.network
        };
        match plugins.iter_mut().find(is_same) {
            Some(group) => group.push(request),
            None => plugins.push(vec![request]),
        }
    }
    let (mut found, mut errors) = (BTreeMap::new(), Vec::new());
    // Images one after the other: two plugins may have the same one.
    let mut ready = Vec::new();
    for group in plugins {
        ready.push((prepare(session, lock, &group).await?, group));
    }
    let calls = ready.into_iter().map(|((context, call), group)| {
        // A task of its own, so that an interrupt does not leave the container behind.
        let queries = queries(&group);
        let answers = session.cleanups.spawn(async move {
            let answers = scm::resolve(&context, &call, &queries).await;
            (answers, call.location)
        });
        async move { (answers.await, group) }
    });
    for (answers, group) in join_all(calls).await {
        let (answers, location) = crate::base::task::joined(answers);
        match answers {
            Ok(answers) => accept(&answers, &location, group, &mut found, &mut errors),
            Err(cause) => errors.push(failed(&group, cause)),
        }
    }
    Ok((found, errors))
}

/// Returns whether any service has a branch, according to its plugin. A plugin that fails has none.
pub async fn has_branch(
    session: &Session,
    lock: Option<&FolderLock>,
    branch: &RefName,
) -> Result<bool, Failure> {
    let services = session.manifest.services.values();
    let requests = services.map(|service| ResolveRequest {
        service: service.name.to_string(),
        remote: RequestedRemote::of(service),
        reference: service.source.reference().clone(),
        preferred_branch: Some(branch.clone()),
        manifest_reference: None,
    });
    let requests: Vec<ResolveRequest> = requests.collect();
    let (found, _) = resolve_each(session, lock, &requests).await?;
    Ok(found.values().any(|resolution| resolution.is_from_branch))
}

/// Makes sure that the engine has the image of a plugin, and that its secrets exist.
async fn prepare(
    session: &Session,
    lock: Option<&FolderLock>,
    group: &[PluginRequest],
) -> Result<(ExecuteContext, PluginCall), Failure> {
    let PluginRequest {
        service, plugin, ..
    } = &group[0];
    let folders = match &plugin.image {
        BuilderImage::Folder(name) => {
            let folder = survey::folder_builder(&session.manifest, name).map_err(|error| {
                let failure = Failure::from(error);
                located(session, service, failure)
            })?;
            Folders::from([folder])
        }
        BuilderImage::External(_) => Folders::new(),
    };
    let engine = session.connect().await?;
    let call = PluginCall::of(&session.manifest, service, plugin, &folders);
    let (Some(call), Some(image)) = (call, builder_image(&plugin.image, &folders)) else {
        return Err(Failure::usage(format!("unknown plugin {}", plugin.image)));
    };
    let clients = Clients {
        registry: session.registry_without_engine(),
        git: session.git()?,
        engine: engine.clone(),
    };
    // The engine's facts are only needed for builders.
    let facts = EngineProperties::default();
    let context = plan::context(session, clients, facts, None, false);
    if let BuilderImage::Folder(_) = &plugin.image {
        // Before its image is built.
        let services = group
            .iter()
            .map(|it| &session.manifest.services[&it.service]);
        let found = services.flat_map(|service| source_problems(service, &folders));
        reject(session, found.collect())?;
    }
    let missing = group
        .iter()
        .flat_map(|it| secrets::missing_for_plugin(&context, &it.service, &it.plugin.secrets));
    let missing: Vec<_> = missing.collect();
    if !missing.is_empty() {
        let error = session.manifest.missing_inputs(missing);
        return Err(manifest_failure(session, &error));
    }
    let mut found = engine.image(&image).await?;
    if found.is_none() {
        let names: Vec<&ServiceName> = group.iter().map(|it| &it.service).collect();
        let reason = format!("it resolves {}", abbreviated(&names, NAMED));
        let facts = engine.facts().await?;
        let need = ImageNeed {
            lock,
            reason: Some(&reason),
        };
        let made = with_images(
            session,
            &[&plugin.image],
            &folders,
            engine.clone(),
            facts,
            need,
        )
        .await;
        made.map_err(|failure| located(session, service, failure))?;
        found = engine.image(&image).await?;
    }
    if let BuilderImage::External(_) = &plugin.image {
        let labels = found.map(|image| image.labels).unwrap_or_default();
        let description = PluginDescription::of(&labels);
        let uses = group.iter().map(|it| PluginUse::scm(&it.plugin));
        let found = uses.flat_map(|plugin| problems(&plugin, &description));
        reject(session, found.collect())?;
    }
    Ok((context, call))
}

/// Fails if the label of a plugin rejects settings.
fn reject(session: &Session, problems: Vec<SourceProblem>) -> Result<(), Failure> {
    match session.manifest.rejected(problems) {
        Some(error) => Err(manifest_failure(session, &error)),
        None => Ok(()),
    }
}

/// Adds to a failure where the manifest sets the plugin.
fn located(session: &Session, service: &ServiceName, failure: Failure) -> Failure {
    let Some(message) = failure.message() else {
        return failure;
    };
    let line = session.manifest.line_of(service, &["scm"]);
    let line = line.map_or_else(String::new, |line| format!(":{line}"));
    let file = session.manifest.file_name();
    let hint = format!("hint: `scm.plugin` of `{service}` is set in {file}{line}");
    Failure::rendered(failure.exit, format!("{message}\n{hint}"))
}

/// Returns the references to resolve. The ids are those of [`id`].
fn queries(group: &[PluginRequest]) -> Vec<PluginQuery> {
    let queries = group.iter().flat_map(|it| {
        let query = |what: &str, reference: &GitReference| PluginQuery {
            id: id(&it.service, what),
            with: it.plugin.settings(),
            reference: match reference {
                GitReference::DefaultBranch => None,
                reference => Some(reference.to_string()),
            },
        };
        let request = &it.request;
        let branch = request.preferred_branch.as_ref().map(|branch| {
            let name = branch.as_str();
            let name = name.strip_prefix("origin/").unwrap_or(name);
            PluginQuery {
                reference: Some(name.to_owned()),
                ..query(BRANCH, &GitReference::DefaultBranch)
            }
        });
        let manifest = request.manifest_reference.as_ref();
        let manifest = manifest.map(|reference| query(MANIFEST, reference));
        std::iter::once(query("", &request.reference))
            .chain(branch)
            .chain(manifest)
    });
    queries.collect()
}

/// The part of an id for the branch of `--branch`.
const BRANCH: &str = ":branch";
/// The part of an id for the reference of the manifest.
const MANIFEST: &str = ":manifest";

/// Returns the id of a query. A service's name has no colon.
fn id(service: &ServiceName, what: &str) -> String {
    format!("{service}{what}")
}

/// Converts the answers of a plugin.
fn accept(
    answers: &PluginAnswers,
    location: &str,
    group: Vec<PluginRequest>,
    found: &mut BTreeMap<String, Resolution>,
    errors: &mut Vec<ResolveError>,
) {
    for PluginRequest {
        service,
        plugin,
        request,
    } in group
    {
        let answer = |what| answers.get(&id(&service, what)).and_then(Option::as_ref);
        let own = answer("").map(|answer| resolved(answer, &request.reference));
        // A tag or a revision of that name is not the branch.
        let of_train = answer(BRANCH).filter(|answer| answer.branch.is_some());
        let resolution = match (of_train, own) {
            (Some(answer), own) => Resolution {
                reference: resolved(answer, &GitReference::DefaultBranch),
                is_from_branch: true,
                manifest_reference: own,
                commit_time: answer.time,
            },
            (None, Some(reference)) => Resolution {
                reference,
                is_from_branch: false,
                manifest_reference: answer(MANIFEST)
                    .zip(request.manifest_reference.as_ref())
                    .map(|(answer, reference)| resolved(answer, reference)),
                commit_time: answer("").and_then(|answer| answer.time),
            },
            (None, None) => {
                errors.push(ResolveError::NotInPlugin {
                    services: vec![service.to_string()],
                    url: crate::model::manifest::Source::Plugin(plugin.clone()).url(),
                    plugin: plugin.image,
                    reference: request.reference,
                    location: location.to_owned(),
                });
                continue;
            }
        };
        found.insert(service.to_string(), resolution);
    }
}

/// Returns a reference with its full name, as git would have it.
fn resolved(answer: &PluginReference, requested: &GitReference) -> ResolvedReference {
    let name = match (&answer.branch, requested) {
        (Some(branch), _) => Some(format!("refs/heads/{branch}")),
        (None, GitReference::Named(name)) => Some(format!("refs/tags/{name}")),
        (None, GitReference::Full(name)) => Some(name.to_string()),
        (None, GitReference::DefaultBranch | GitReference::Commit(_)) => None,
    };
    ResolvedReference {
        commit: answer.commit,
        name,
    }
}

fn failed(group: &[PluginRequest], cause: PluginCallError) -> ResolveError {
    ResolveError::Plugin {
        services: group.iter().map(|it| it.service.to_string()).collect(),
        cause,
    }
}
