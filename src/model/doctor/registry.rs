//! Checks of a registry: connection, login and push access.

use super::{CheckFailure, Finding, Section, Subject, count_of, few, list};

/// Facts about a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryFacts {
    pub host: String,
    /// Source of the credentials.
    pub origin: CredentialOrigin,
    /// The user, such as ``the user `bob` ``; `None` without credentials.
    pub user: Result<Option<String>, CheckFailure>,
    /// Its address, such as `https://harbour.example.com`; `None` if it was not queried.
    pub address: Option<Result<String, CheckFailure>>,
    /// Whether it is on this machine.
    pub is_loopback: bool,
    /// The repositories that the manifest uses.
    pub repositories: Vec<RepositoryFacts>,
}

/// Source of credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CredentialOrigin {
    /// No credentials.
    NotConfigured,
    File(String),
    Helper(String),
}

/// Facts about a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepositoryFacts {
    /// The full name.
    pub name: String,
    /// Whether pulling is allowed.
    pub pull: Result<(), CheckFailure>,
    /// Whether pushing is allowed; `None` if xp does not push to it.
    pub push: Option<Result<PushAccess, CheckFailure>>,
}

/// Result of a successful push check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushAccess {
    /// Why the upload opened for the check could not be canceled.
    pub cancel_error: Option<String>,
}

/// Placeholder for repository names, used to group equal failures.
const NAME_PLACEHOLDER: &str = "\u{0}";

/// Evaluates a registry.
pub fn registry(facts: &RegistryFacts) -> Section {
    let mut findings = Vec::new();
    let mut summary = Vec::new();
    match (&facts.user, &facts.address) {
        (Err(failure), _) => findings.push(Finding::of(failure)),
        (Ok(_), None) => {
            summary.push("not checked".to_owned());
            findings.push(Finding::ok(format!("credentials: {}", credentials(facts))));
        }
        (Ok(user), Some(Err(failure))) => {
            let finding = Finding::of(failure);
            findings.push(match user {
                Some(_) => finding.because(format!("queried as {}", credentials(facts))),
                None => finding,
            });
        }
        (Ok(user), Some(Ok(address))) => {
            let name = user.as_deref().unwrap_or("anonymous users");
            findings.push(Finding::ok(format!(
                "{address} is reachable; credentials: {}",
                credentials(facts)
            )));
            if address.starts_with("http://") && !facts.is_loopback {
                findings.push(Finding::note(format!(
                    "{address} is used without TLS because the engine lists it as insecure: passwords are sent unencrypted"
                )));
            }
            let refusals = refusals(facts);
            if refusals.is_empty() {
                summary.push(access_summary(facts, name));
            }
            findings.extend(refusals);
            findings.extend(facts.repositories.iter().filter_map(accessible));
        }
    }
    Section {
        subject: Subject::Registry(facts.host.clone()),
        summary: list(summary),
        findings,
    }
}

/// Summarizes what the user may do.
fn access_summary(facts: &RegistryFacts, user: &str) -> String {
    let pushed = facts.repositories.iter();
    let pushed = pushed
        .filter(|repository| repository.push.is_some())
        .count();
    let count = count_of(facts.repositories.len(), "repository");
    match pushed {
        0 => format!("{user} may pull from {count}"),
        some if some == facts.repositories.len() => format!("{user} may push to {count}"),
        some => format!("{user} may pull from {count} and push to {some}"),
    }
}

/// Returns the user and the source of the credentials, never a secret.
fn credentials(facts: &RegistryFacts) -> String {
    let user = facts.user.as_ref().ok().and_then(Option::as_deref);
    match (user, &facts.origin) {
        (None, CredentialOrigin::Helper(helper)) => format!("none in `{helper}`"),
        (None, _) => "none".to_owned(),
        (Some(user), CredentialOrigin::NotConfigured) => user.to_owned(),
        (Some(user), CredentialOrigin::File(file)) => format!("{user}, from {file}"),
        (Some(user), CredentialOrigin::Helper(helper)) => format!("{user}, from `{helper}`"),
    }
}

/// Returns the refusals, with repositories that were refused for the same reason grouped.
fn refusals(facts: &RegistryFacts) -> Vec<Finding> {
    let mut grouped: Vec<(CheckFailure, Vec<String>)> = Vec::new();
    let mut findings = Vec::new();
    for repository in &facts.repositories {
        let push = repository.push.as_ref();
        let refused_push = push.and_then(|push| push.as_ref().err());
        let mut refused: Vec<CheckFailure> = [repository.pull.as_ref().err(), refused_push]
            .into_iter()
            .flatten()
            .map(|failure| general(failure, &repository.name))
            .collect();
        // A failed pull usually fails the push as well, and only the response to the push has a reason: the pull check
        // is a HEAD request.
        if let [pull, push] = refused.as_slice()
            && push.what.starts_with(&pull.what)
        {
            refused.remove(0);
        }
        for failure in refused {
            match grouped.iter_mut().find(|(other, _)| *other == failure) {
                Some((_, names)) => names.push(repository.name.clone()),
                None => grouped.push((failure, vec![repository.name.clone()])),
            }
        }
        if let Some(Ok(PushAccess {
            cancel_error: Some(why),
        })) = push
        {
            findings.push(
                Finding::warning(format!(
                    "failed to cancel the upload opened to check push access to {}",
                    repository.name
                ))
                .because(why.clone())
                .fix("no action needed: registries remove abandoned uploads after a while"),
            );
        }
    }
    for (failure, names) in grouped {
        let finding = Finding::of(&failure).concerning(&names);
        let finding = Finding {
            what: finding.what.replace(NAME_PLACEHOLDER, &few(&names)),
            causes: finding
                .causes
                .iter()
                .map(|cause| cause.replace(NAME_PLACEHOLDER, &few(&names)))
                .collect(),
            ..finding
        };
        findings.push(match &facts.origin {
            CredentialOrigin::NotConfigured => finding,
            _ => finding.because(format!("credentials: {}", credentials(facts))),
        });
    }
    findings
}

/// Replaces the repository name in a failure, so that equal ones can be grouped.
fn general(failure: &CheckFailure, name: &str) -> CheckFailure {
    let causes = failure.causes.iter();
    CheckFailure {
        what: failure.what.replace(name, NAME_PLACEHOLDER),
        causes: causes
            .map(|cause| cause.replace(name, NAME_PLACEHOLDER))
            .collect(),
        ..failure.clone()
    }
}

fn accessible(repository: &RepositoryFacts) -> Option<Finding> {
    let name = &repository.name;
    match (&repository.pull, &repository.push) {
        (Ok(()), None) => Some(Finding::ok(format!("pull access to {name}"))),
        (Ok(()), Some(Ok(_))) => Some(Finding::ok(format!("pull and push access to {name}"))),
        _ => None,
    }
}
