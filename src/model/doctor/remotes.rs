//! Checks of git remotes and the ssh agent.

use std::time::Duration;

use super::{CheckFailure, Finding, Section, Subject, count_of, list};
use crate::base::units;

/// Slower remotes are reported.
const SLOW: Duration = Duration::from_secs(5);

/// Facts about a remote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteFacts {
    /// Its URL, without credentials.
    pub url: String,
    /// The URL after `insteadOf` of git's configuration, if different.
    pub effective: Option<String>,
    /// Whether it uses ssh.
    pub is_ssh: bool,
    /// The services that use it.
    pub services: Vec<String>,
    /// The resolved references and their commits; `None` if it was not queried.
    pub found: Option<Vec<(String, String)>>,
    pub failures: Vec<CheckFailure>,
    /// The response time.
    pub took: Duration,
}

/// Facts about the ssh agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentFacts {
    /// The number of keys; `None` if no agent responds.
    pub keys: Option<usize>,
    /// Whether `SSH_AUTH_SOCK` is set.
    pub is_named: bool,
    /// The services that forward it to their builder.
    pub services: Vec<String>,
}

/// Evaluates the remotes; `agent` is set if something uses it.
pub fn remotes(remotes: &[RemoteFacts], agent: Option<&AgentFacts>) -> Section {
    let mut findings: Vec<Finding> = remotes
        .iter()
        .flat_map(|facts| remote(facts, agent))
        .collect();
    findings.extend(agent.and_then(forwarded));
    let references = remotes.iter().flat_map(|remote| &remote.found).flatten();
    let was_queried = remotes.iter().any(|remote| remote.found.is_some());
    let summary = [
        count_of(remotes.len(), "remote"),
        if was_queried {
            count_of(references.count(), "reference")
        } else {
            "not checked".to_owned()
        },
    ];
    Section {
        subject: Subject::Remotes,
        summary: list(summary),
        findings,
    }
}

fn remote(facts: &RemoteFacts, agent: Option<&AgentFacts>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let via = match &facts.effective {
        Some(effective) => format!(" (via {effective})"),
        None => String::new(),
    };
    for failure in &facts.failures {
        let mut finding = Finding::of(failure).concerning(&facts.services);
        if let Some(effective) = &facts.effective {
            finding = finding.because(format!(
                "git's `insteadOf` replaces {} with {effective}",
                facts.url
            ));
        }
        let is_about_keys = facts.is_ssh && finding.what.contains("refused the ssh keys")
            || finding
                .causes
                .iter()
                .any(|cause| cause.contains("refused the ssh keys"));
        if let Some(agent) = agent.filter(|_| is_about_keys) {
            finding = finding.because(keys(agent));
        }
        if finding.fixes.is_empty() {
            finding = finding.fix("check the URL, and whether its host requires a VPN or a proxy");
        }
        findings.push(finding);
    }
    let took = units::elapsed(facts.took);
    for (reference, commit) in facts.found.iter().flatten() {
        let short = commit.get(..8).unwrap_or(commit);
        let text = format!("{}{via}: {reference} is {short} ({took})", facts.url);
        findings.push(Finding::ok(text).concerning(&facts.services));
    }
    if facts.found.is_some() && facts.failures.is_empty() && facts.took >= SLOW {
        findings.push(
            Finding::warning(format!("{} took {took} to list its references", facts.url))
                .concerning(&facts.services)
                .fix("every command waits for it; to use a closer mirror, configure git's `insteadOf`"),
        );
    }
    if facts.found.is_none() && facts.failures.is_empty() {
        findings.push(Finding::ok(format!("{}{via}: not checked", facts.url)));
    }
    findings
}

fn keys(agent: &AgentFacts) -> String {
    match (agent.keys, agent.is_named) {
        (Some(0), _) => "the ssh agent has no keys".to_owned(),
        (Some(count), _) => format!("the ssh agent has {}", count_of(count, "key")),
        (None, true) => "the ssh agent at SSH_AUTH_SOCK does not respond".to_owned(),
        (None, false) => "no ssh agent: SSH_AUTH_SOCK is not set".to_owned(),
    }
}

/// Evaluates whether the agent can be forwarded to builders.
fn forwarded(agent: &AgentFacts) -> Option<Finding> {
    if agent.services.is_empty() {
        return None;
    }
    let finding = match agent.keys {
        Some(1..) => Finding::ok(keys(agent)),
        Some(0) => Finding::warning(format!(
            "{}, but `dockerBuilder.ssh` forwards it",
            keys(agent)
        ))
        .fix("run `ssh-add` to load a key"),
        None => Finding::error(format!(
            "{}, but `dockerBuilder.ssh` forwards it",
            keys(agent)
        ))
        .fix("run `eval \"$(ssh-agent)\" && ssh-add` to start one and load a key"),
    };
    Some(finding.concerning(&agent.services))
}
