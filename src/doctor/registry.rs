//! One registry: whether it answers, whom it knows, and what it lets them do.

use super::{Finding, Section, Subject, Trouble, few, list, many};

/// What is known of a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryFacts {
    /// Its host.
    pub host: String,
    /// Where its credentials come from.
    pub origin: CredentialOrigin,
    /// For whom they stand, such as ``the user `bob` ``; none where there are none.
    pub who: Result<Option<String>, Trouble>,
    /// How it is reached, such as `https://harbour.example.com`; none where it was not asked.
    pub address: Option<Result<String, Trouble>>,
    /// Whether it is this machine.
    pub is_loopback: bool,
    /// The repositories of the manifest in it.
    pub repositories: Vec<RepositoryFacts>,
}

/// Where credentials come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CredentialOrigin {
    /// There are none.
    Nowhere,
    /// A file.
    File(String),
    /// A program.
    Helper(String),
}

/// What is known of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepositoryFacts {
    /// Its whole name.
    pub name: String,
    /// Whether images of it may be asked for.
    pub pull: Result<(), Trouble>,
    /// Whether images may be pushed to it; none where xp never does.
    pub push: Option<Result<PushAnswer, Trouble>>,
}

/// The answer of a registry that lets its user push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushAnswer {
    /// Why the upload that was opened to ask could not be cancelled.
    pub left_over: Option<String>,
}

/// Stands for the name of a repository in what is alike of many.
const NAME: &str = "\u{0}";

/// Tells what is wrong with a registry.
pub fn registry(facts: &RegistryFacts) -> Section {
    let mut findings = Vec::new();
    let mut summary = Vec::new();
    match (&facts.who, &facts.address) {
        (Err(trouble), _) => findings.push(Finding::of(trouble)),
        (Ok(_), None) => {
            summary.push("not asked".to_owned());
            findings.push(Finding::ok(format!("credentials: {}", credentials(facts))));
        }
        (Ok(who), Some(Err(trouble))) => {
            let finding = Finding::of(trouble);
            findings.push(match who {
                Some(_) => finding.because(format!("it was asked as {}", credentials(facts))),
                None => finding,
            });
        }
        (Ok(who), Some(Ok(address))) => {
            let name = who.as_deref().unwrap_or("anonymous users");
            findings.push(Finding::ok(format!(
                "{address} answers; credentials: {}",
                credentials(facts)
            )));
            if address.starts_with("http://") && !facts.is_loopback {
                findings.push(Finding::note(format!(
                    "{address} is spoken to without TLS, as the engine lists it as insecure: passwords can be read on the way"
                )));
            }
            let rights = rights(facts);
            if rights.is_empty() {
                summary.push(allowed(facts, name));
            }
            findings.extend(rights);
            findings.extend(facts.repositories.iter().filter_map(well));
        }
    }
    Section {
        subject: Subject::Registry(facts.host.clone()),
        summary: list(summary),
        findings,
    }
}

/// Returns what a registry lets its user do with all of its repositories.
fn allowed(facts: &RegistryFacts, who: &str) -> String {
    let pushed = facts.repositories.iter();
    let pushed = pushed
        .filter(|repository| repository.push.is_some())
        .count();
    let count = many(facts.repositories.len(), "repository");
    match pushed {
        0 => format!("{who} may pull from {count}"),
        some if some == facts.repositories.len() => format!("{who} may push to {count}"),
        some => format!("{who} may pull from {count}, and push to {some}"),
    }
}

/// Returns the user, and where the credentials come from; never a secret.
fn credentials(facts: &RegistryFacts) -> String {
    let who = facts.who.as_ref().ok().and_then(Option::as_deref);
    match (who, &facts.origin) {
        (None, CredentialOrigin::Helper(helper)) => format!("none, says `{helper}`"),
        (None, _) => "none".to_owned(),
        (Some(who), CredentialOrigin::Nowhere) => who.to_owned(),
        (Some(who), CredentialOrigin::File(file)) => format!("{who}, from {file}"),
        (Some(who), CredentialOrigin::Helper(helper)) => format!("{who}, from `{helper}`"),
    }
}

/// Returns what is refused, each refusal once for all repositories that it is about.
fn rights(facts: &RegistryFacts) -> Vec<Finding> {
    let mut refusals: Vec<(Trouble, Vec<String>)> = Vec::new();
    let mut findings = Vec::new();
    for repository in &facts.repositories {
        let push = repository.push.as_ref();
        let refused_push = push.and_then(|push| push.as_ref().err());
        let mut refused: Vec<Trouble> = [repository.pull.as_ref().err(), refused_push]
            .into_iter()
            .flatten()
            .map(|trouble| general(trouble, &repository.name))
            .collect();
        // What keeps somebody from reading mostly keeps them from writing too, and is said with a reason
        // there: the answer to the first question has no text.
        if let [pull, push] = refused.as_slice()
            && push.what.starts_with(&pull.what)
        {
            refused.remove(0);
        }
        for trouble in refused {
            match refusals.iter_mut().find(|(other, _)| *other == trouble) {
                Some((_, names)) => names.push(repository.name.clone()),
                None => refusals.push((trouble, vec![repository.name.clone()])),
            }
        }
        if let Some(Ok(PushAnswer {
            left_over: Some(why),
        })) = push
        {
            findings.push(
                Finding::warning(format!(
                    "the upload that was opened to ask whether {} takes pushes cannot be cancelled",
                    repository.name
                ))
                .because(why.clone())
                .fix("nothing has to be done: registries remove such uploads after a while"),
            );
        }
    }
    for (trouble, names) in refusals {
        let finding = Finding::of(&trouble).concerning(&names);
        let finding = Finding {
            what: finding.what.replace(NAME, &few(&names)),
            causes: finding
                .causes
                .iter()
                .map(|cause| cause.replace(NAME, &few(&names)))
                .collect(),
            ..finding
        };
        findings.push(match &facts.origin {
            CredentialOrigin::Nowhere => finding,
            _ => finding.because(format!("credentials: {}", credentials(facts))),
        });
    }
    findings
}

/// Returns a trouble as it may be that of other repositories as well.
fn general(trouble: &Trouble, name: &str) -> Trouble {
    let causes = trouble.causes.iter();
    Trouble {
        what: trouble.what.replace(name, NAME),
        causes: causes.map(|cause| cause.replace(name, NAME)).collect(),
        ..trouble.clone()
    }
}

fn well(repository: &RepositoryFacts) -> Option<Finding> {
    let name = &repository.name;
    match (&repository.pull, &repository.push) {
        (Ok(()), None) => Some(Finding::ok(format!("{name} may be pulled"))),
        (Ok(()), Some(Ok(_))) => Some(Finding::ok(format!("{name} may be pulled and pushed"))),
        _ => None,
    }
}
