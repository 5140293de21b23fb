//! Gathers facts about git remotes and the ssh agent.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::process::Command;

use super::{CheckedPlatform, DoctorContext, grouped};
use crate::client::git::GitError;
use crate::flow::diagnose::per_host_limit::PerHostLimit;
use crate::flow::sources::resolve;
use crate::flow::sources::resolve::{RequestedRemote, ResolveErrors, ResolveRequest, remote_key};
use crate::model::doctor::{AgentFacts, CheckFailure, RemoteFacts};
use crate::model::manifest::{Git, Service};
use crate::model::source::{GitReference, GitScheme, GitUrl};

/// Timeout of the ssh agent.
const AGENT_TIMEOUT: Duration = Duration::from_secs(5);

/// Maximum number of concurrent requests to a git server, equal to the client's limit of open connections.
const MAX_CONCURRENT: usize = 16;
/// The same over ssh.
const MAX_CONCURRENT_SSH: usize = 6;

/// A service and its repository.
type GitService<'s> = (&'s Service, &'s Git);

/// Queries each remote once for the references of its services.
pub(super) async fn remotes(context: &DoctorContext<'_>) -> (Vec<RemoteFacts>, Option<AgentFacts>) {
    let Some(platform) = &context.platform else {
        return (Vec::new(), None);
    };
    let services = context.services().filter_map(|service| {
        let git = service.source.git()?;
        Some((remote_key(&git.remote), (service, git)))
    });
    let groups = grouped(services);
    // A group has at least one service.
    let server = |services: &[GitService<'_>]| {
        let url = platform.git.effective_url(&services[0].1.remote);
        (url.origin(), url.scheme())
    };
    let mut limits: BTreeMap<String, PerHostLimit> = BTreeMap::new();
    for services in groups.values() {
        let (origin, scheme) = server(services);
        let max_concurrent = match scheme {
            GitScheme::Ssh => MAX_CONCURRENT_SSH,
            _ => MAX_CONCURRENT,
        };
        limits
            .entry(origin)
            .or_insert_with(|| PerHostLimit::new(max_concurrent));
    }
    let queries = groups.values().map(|services| {
        let limit = &limits[&server(services).0];
        one(context, platform, services, limit)
    });
    let is_ssh = |service: &Service| {
        let git = service.source.git();
        git.is_some_and(|git| is_over_ssh(platform, &git.remote))
    };
    let forwarded = context.services_with(|service| {
        let builder = service.builder.as_ref();
        builder.is_some_and(|builder| builder.ssh)
    });
    let needs_agent = !forwarded.is_empty() || context.services().any(is_ssh);
    let agent = async {
        if needs_agent {
            Some(agent(context, forwarded).await)
        } else {
            None
        }
    };
    tokio::join!(join_all(queries), agent)
}

fn is_over_ssh(platform: &CheckedPlatform<'_>, url: &GitUrl) -> bool {
    platform.git.effective_url(url).scheme() == GitScheme::Ssh
}

async fn one(
    context: &DoctorContext<'_>,
    platform: &CheckedPlatform<'_>,
    services: &[GitService<'_>],
    limit: &PerHostLimit,
) -> RemoteFacts {
    let url = &services[0].1.remote;
    let effective = platform.git.effective_url(url);
    let mut facts = RemoteFacts {
        url: url.to_string(),
        effective: (effective != *url).then(|| effective.to_string()),
        is_ssh: effective.scheme() == GitScheme::Ssh,
        services: services
            .iter()
            .map(|(service, _)| service.name.to_string())
            .collect(),
        found: None,
        failures: Vec::new(),
        took: Duration::ZERO,
    };
    if context.offline {
        return facts;
    }
    let what = format!("the git remote {url}");
    let query = async {
        // The time spent waiting for the limit does not count.
        let started = Instant::now();
        let response = resolve_references(platform, services).await?;
        Ok::<_, GitError>((response, started.elapsed()))
    };
    match limit.run(context, what, query).await {
        Ok(((found, errors), took)) => {
            facts.found = Some(found);
            facts.failures = errors;
            facts.took = took;
        }
        Err(failure) => {
            facts.found = Some(Vec::new());
            facts.failures = vec![failure];
        }
    }
    facts
}

type ResolvedReferences = (Vec<(String, String)>, Vec<CheckFailure>);

async fn resolve_references(
    platform: &CheckedPlatform<'_>,
    services: &[GitService<'_>],
) -> Result<ResolvedReferences, GitError> {
    let is_commit = |(_, git): &GitService<'_>| matches!(git.reference, GitReference::Commit(_));
    if services.iter().all(is_commit) {
        // A commit needs no lookup, but check that the remote can be reached.
        platform.git.list_refs(&services[0].1.remote, &[]).await?;
    }
    let requests = services.iter().map(|(service, git)| ResolveRequest {
        service: service.name.to_string(),
        remote: RequestedRemote::Git(git.remote.clone()),
        reference: git.reference.clone(),
        preferred_branch: None,
        manifest_reference: None,
    });
    let (mut resolved, errors) = resolve::resolve_each(&platform.git, requests.collect()).await;
    let mut found: Vec<(String, String)> = Vec::new();
    for (service, git) in services {
        let Some(resolution) = resolved.remove(service.name.as_str()) else {
            continue;
        };
        let reference = match &git.reference {
            GitReference::DefaultBranch => "the default branch".to_owned(),
            GitReference::Commit(_) => "the commit".to_owned(),
            named => named.to_string(),
        };
        let one = (reference, resolution.reference.commit.to_string());
        if !found.contains(&one) {
            found.push(one);
        }
    }
    let errors = errors
        .into_iter()
        .map(|error| CheckFailure::of(&ResolveErrors(vec![error])));
    Ok((found, errors.collect()))
}

/// Counts the keys of the ssh agent.
async fn agent(context: &DoctorContext<'_>, services: Vec<String>) -> AgentFacts {
    let socket = &context.settings.caller.ssh_agent;
    let mut facts = AgentFacts {
        keys: None,
        is_named: socket.is_some(),
        services,
    };
    if socket.is_none() {
        return facts;
    }
    let mut list = Command::new("ssh-add");
    list.arg("-l").stdin(Stdio::null()).kill_on_drop(true);
    let _waiting = context.waiting.begin("the ssh agent");
    let listed = tokio::time::timeout(AGENT_TIMEOUT.min(context.limit), list.output()).await;
    if let Ok(Ok(listed)) = listed {
        facts.keys = match listed.status.code() {
            Some(0) => Some(String::from_utf8_lossy(&listed.stdout).lines().count()),
            // The agent has no keys; exit code 2 means that it does not respond.
            Some(1) => Some(0),
            _ => None,
        };
    }
    facts
}
