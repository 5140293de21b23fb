//! The git remotes.

use std::time::Duration;

use super::{Finding, Section, Subject, Trouble, list, many};

/// A remote that takes longer makes every command slow.
const SLOW: Duration = Duration::from_secs(5);

/// What is known of a remote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteFacts {
    /// Its URL, without credentials.
    pub url: String,
    /// The URL that is used instead of it, by git's configuration.
    pub effective: Option<String>,
    /// Whether ssh leads to it.
    pub is_ssh: bool,
    /// The services on it.
    pub services: Vec<String>,
    /// The references that it has, and their commits; none where it was not asked.
    pub found: Option<Vec<(String, String)>>,
    /// What failed.
    pub troubles: Vec<Trouble>,
    /// How long it took.
    pub took: Duration,
}

/// What is known of the ssh agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentFacts {
    /// Its keys; none where there is no agent that answers.
    pub keys: Option<usize>,
    /// Whether `SSH_AUTH_SOCK` names one.
    pub is_named: bool,
    /// The services whose builder gets it.
    pub services: Vec<String>,
}

/// Tells what is wrong with the remotes; `agent` is known where something takes it.
pub fn remotes(remotes: &[RemoteFacts], agent: Option<&AgentFacts>) -> Section {
    let mut findings: Vec<Finding> = remotes
        .iter()
        .flat_map(|facts| remote(facts, agent))
        .collect();
    findings.extend(agent.and_then(forwarded));
    let references = remotes.iter().flat_map(|remote| &remote.found).flatten();
    let was_asked = remotes.iter().any(|remote| remote.found.is_some());
    let summary = [
        many(remotes.len(), "remote"),
        match was_asked {
            true => many(references.count(), "reference"),
            false => "not asked".to_owned(),
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
    let instead = match &facts.effective {
        Some(effective) => format!(", by {effective}"),
        None => String::new(),
    };
    for trouble in &facts.troubles {
        let mut finding = Finding::of(trouble).concerning(&facts.services);
        if facts.effective.is_some() {
            finding = finding.because(format!(
                "{} is reached{instead}, as git's `insteadOf` says",
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
            finding = finding.fix(
                "is the address right, and is its host reached from here, or only by a VPN or a proxy?",
            );
        }
        findings.push(finding);
    }
    let took = format!("{:.1} s", facts.took.as_secs_f64());
    for (reference, commit) in facts.found.iter().flatten() {
        let short = commit.get(..8).unwrap_or(commit);
        let text = format!("{}{instead}: {reference} is {short} ({took})", facts.url);
        findings.push(Finding::ok(text).concerning(&facts.services));
    }
    if facts.found.is_some() && facts.troubles.is_empty() && facts.took >= SLOW {
        findings.push(
            Finding::warning(format!("{} took {took} to tell its references", facts.url))
                .concerning(&facts.services)
                .fix("every command waits for it: is there a faster way to it, such as a mirror by git's `insteadOf`?"),
        );
    }
    if facts.found.is_none() && facts.troubles.is_empty() {
        findings.push(Finding::ok(format!("{}{instead}: not asked", facts.url)));
    }
    findings
}

fn keys(agent: &AgentFacts) -> String {
    match (agent.keys, agent.is_named) {
        (Some(0), _) => "the ssh agent has no key".to_owned(),
        (Some(count), _) => format!("the ssh agent has {}", many(count, "key")),
        (None, true) => "the ssh agent that SSH_AUTH_SOCK names does not answer".to_owned(),
        (None, false) => "there is no ssh agent: SSH_AUTH_SOCK is not set".to_owned(),
    }
}

/// Tells whether builders get the agent that they are to get.
fn forwarded(agent: &AgentFacts) -> Option<Finding> {
    if agent.services.is_empty() {
        return None;
    }
    let finding = match agent.keys {
        Some(1..) => Finding::ok(keys(agent)),
        Some(0) => Finding::warning(format!(
            "{}, and `dockerBuilder.ssh` forwards it",
            keys(agent)
        ))
        .fix("`ssh-add` loads a key"),
        None => Finding::error(format!(
            "{}, and `dockerBuilder.ssh` forwards it",
            keys(agent)
        ))
        .fix("`eval \"$(ssh-agent)\" && ssh-add` starts one and loads a key"),
    };
    Some(finding.concerning(&agent.services))
}
