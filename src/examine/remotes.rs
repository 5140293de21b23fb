//! The git remotes, and the ssh agent.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::process::Command;

use super::turns::Turns;
use super::{Platform, Surroundings, grouped};
use crate::client::git::GitError;
use crate::doctor::{AgentFacts, RemoteFacts, Trouble};
use crate::manifest::Service;
use crate::resolve::{self, Request, ResolveErrors, remote_key};
use crate::source::{GitReference, GitScheme, GitUrl};

/// How long the ssh agent may take.
const AGENT: Duration = Duration::from_secs(5);

/// How many questions a server of git is asked at once, as the client lets connections be open.
const AT_ONCE: usize = 16;
/// The same over ssh.
const SSH_AT_ONCE: usize = 6;

/// Asks each remote once for the references that the services want of it.
pub(super) async fn remotes(
    surroundings: &Surroundings<'_>,
) -> (Vec<RemoteFacts>, Option<AgentFacts>) {
    let Some(platform) = &surroundings.platform else {
        return (Vec::new(), None);
    };
    let services = surroundings
        .services()
        .map(|service| (remote_key(&service.git.remote), service));
    let groups = grouped(services);
    // A group has one service at least.
    let server = |services: &[&Service]| {
        let url = platform.git.effective_url(&services[0].git.remote);
        (url.origin(), url.scheme())
    };
    let mut turns: BTreeMap<String, Turns> = BTreeMap::new();
    for services in groups.values() {
        let (origin, scheme) = server(services);
        let at_once = match scheme {
            GitScheme::Ssh => SSH_AT_ONCE,
            _ => AT_ONCE,
        };
        turns.entry(origin).or_insert_with(|| Turns::new(at_once));
    }
    let asked = groups.values().map(|services| {
        let turns = &turns[&server(services).0];
        one(surroundings, platform, services, turns)
    });
    let is_ssh = |service: &Service| is_over_ssh(platform, &service.git.remote);
    let forwarded = surroundings.services_with(|service| {
        let builder = service.builder.as_ref();
        builder.is_some_and(|builder| builder.ssh)
    });
    let needs_agent = !forwarded.is_empty() || surroundings.services().any(is_ssh);
    let agent = async {
        match needs_agent {
            true => Some(agent(surroundings, forwarded).await),
            false => None,
        }
    };
    tokio::join!(join_all(asked), agent)
}

fn is_over_ssh(platform: &Platform<'_>, url: &GitUrl) -> bool {
    platform.git.effective_url(url).scheme() == GitScheme::Ssh
}

async fn one(
    surroundings: &Surroundings<'_>,
    platform: &Platform<'_>,
    services: &[&Service],
    turns: &Turns,
) -> RemoteFacts {
    let url = &services[0].git.remote;
    let effective = platform.git.effective_url(url);
    let mut facts = RemoteFacts {
        url: url.to_string(),
        effective: (effective != *url).then(|| effective.to_string()),
        is_ssh: effective.scheme() == GitScheme::Ssh,
        services: services
            .iter()
            .map(|service| service.name.to_string())
            .collect(),
        found: None,
        troubles: Vec::new(),
        took: Duration::ZERO,
    };
    if surroundings.offline {
        return facts;
    }
    let what = format!("the git remote {url}");
    let question = async {
        // Waiting for a turn is no time that the remote took.
        let started = Instant::now();
        let answer = ask(platform, services).await?;
        Ok::<_, GitError>((answer, started.elapsed()))
    };
    match turns.ask(surroundings, what, question).await {
        Ok(((found, errors), took)) => {
            facts.found = Some(found);
            facts.troubles = errors;
            facts.took = took;
        }
        Err(trouble) => {
            facts.found = Some(Vec::new());
            facts.troubles = vec![trouble];
        }
    }
    facts
}

type Answer = (Vec<(String, String)>, Vec<Trouble>);

async fn ask(platform: &Platform<'_>, services: &[&Service]) -> Result<Answer, GitError> {
    let is_commit = |service: &&Service| matches!(service.git.reference, GitReference::Commit(_));
    if services.iter().all(is_commit) {
        // A bare commit needs no question, but whether it could be fetched is worth one.
        platform.git.list_refs(&services[0].git.remote, &[]).await?;
    }
    let requests = services.iter().map(|service| Request {
        service: service.name.to_string(),
        url: service.git.remote.clone(),
        reference: service.git.reference.clone(),
        preferred_branch: None,
        normal: None,
    });
    let (mut resolved, errors) = resolve::resolve_each(&platform.git, requests.collect()).await;
    let mut found: Vec<(String, String)> = Vec::new();
    for service in services {
        let Some(resolution) = resolved.remove(service.name.as_str()) else {
            continue;
        };
        let reference = match &service.git.reference {
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
        .map(|error| Trouble::of(&ResolveErrors(vec![error])));
    Ok((found, errors.collect()))
}

/// Counts the keys of the ssh agent, as `ssh-add -l` does; it tells neither keys nor their files.
async fn agent(surroundings: &Surroundings<'_>, services: Vec<String>) -> AgentFacts {
    let socket = &surroundings.settings.caller.ssh_agent;
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
    let _waiting = surroundings.waiting.begin("the ssh agent");
    let listed = tokio::time::timeout(AGENT.min(surroundings.limit), list.output()).await;
    if let Ok(Ok(listed)) = listed {
        facts.keys = match listed.status.code() {
            Some(0) => Some(String::from_utf8_lossy(&listed.stdout).lines().count()),
            // It answers, and has none; where it does not answer, it is 2.
            Some(1) => Some(0),
            _ => None,
        };
    }
    facts
}
