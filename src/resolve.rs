//! From references to commits: one connection for each distinct remote.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use futures_util::future::join_all;
use thiserror::Error;

use crate::client::git::{GitClient, GitError, RemoteRefs};
use crate::error::{Diagnostic, Exit, chain};
use crate::source::{CommitId, GitReference, GitUrl, RefName, ResolvedReference};

/// How many similar names an error shows.
const NEAR_MATCHES: usize = 3;

/// What one service asks of its remote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The service.
    pub service: String,
    /// Its remote.
    pub url: GitUrl,
    /// The manifest's reference, or that of `--reference`.
    pub reference: GitReference,
    /// The branch of `--branch`, taken where the remote has it.
    pub preferred_branch: Option<RefName>,
    /// The manifest's reference where `reference` is another one, and somebody wants to know whether
    /// it stands for another commit.
    pub normal: Option<GitReference>,
}

impl Request {
    /// Returns every reference that the remote is asked for.
    pub fn wanted(&self) -> impl Iterator<Item = GitReference> {
        let preferred = self.preferred_branch.clone().map(GitReference::Named);
        std::iter::once(self.reference.clone())
            .chain(preferred)
            .chain(self.normal.clone())
    }
}

/// What the reference of a service stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolution {
    /// The commit, and the full name of the reference.
    pub reference: ResolvedReference,
    /// Whether it is the branch of `--branch`.
    pub is_preferred: bool,
    /// What the manifest's reference stands for, where that is another reference and exists.
    pub normal: Option<ResolvedReference>,
}

/// Everything that went wrong, in the order of the services.
#[derive(Debug, Clone, Error)]
#[error("{}", summary(.0))]
pub struct ResolveErrors(pub Vec<ResolveError>);

/// Tells each error with its causes: an error has one source only, and here are many.
fn summary(errors: &[ResolveError]) -> String {
    let texts: Vec<String> = errors.iter().map(|error| chain(error)).collect();
    texts.join("\nerror: ")
}

/// A remote failed, or does not have a reference.
#[derive(Debug, Clone, Error)]
pub enum ResolveError {
    /// The remote could not be asked.
    #[error("{} cannot be resolved", Services(services))]
    Remote {
        /// The services on it.
        services: Vec<String>,
        /// Why: it names the remote.
        #[source]
        cause: GitError,
    },
    /// The remote has no such branch, tag or reference.
    #[error(
        "{} cannot be resolved: {url} has no branch or tag `{reference}`",
        Services(services)
    )]
    NoSuchReference {
        /// The services that ask for it.
        services: Vec<String>,
        /// The remote.
        url: GitUrl,
        /// What was asked for.
        reference: GitReference,
        /// Names that are similar.
        near: Vec<String>,
    },
    /// No remote has the branch of `--branch`.
    #[error(
        "no repository of the manifest has a branch `{branch}`{}",
        Unasked(unasked)
    )]
    NoSuchBranch {
        /// The branch.
        branch: RefName,
        /// Names that are similar, in any of the remotes.
        near: Vec<String>,
        /// The remotes that could not be asked.
        unasked: Vec<GitUrl>,
    },
    /// The remote has no commit at all, or a `HEAD` that leads nowhere.
    #[error("{} cannot be resolved: the repository {url} {}", Services(services), if *.is_empty { "is empty" } else { "has no default branch" })]
    NoDefault {
        /// The services on it.
        services: Vec<String>,
        /// The remote.
        url: GitUrl,
        /// Whether it has no branch at all.
        is_empty: bool,
    },
}

impl ResolveError {
    /// Returns what a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Remote { cause, .. } => cause.hint().map(str::to_owned),
            Self::NoSuchReference {
                reference, near, ..
            } => did_you_mean(reference, near).or_else(|| {
                Some(match CommitId::is_shortened(&reference.to_string()) {
                    true => "if it is a commit, write all 40 digits of its SHA-1".to_owned(),
                    false => "`git.reference` or `--reference` names it; `git ls-remote` lists what there is".to_owned(),
                })
            }),
            Self::NoSuchBranch { branch, near, .. } => did_you_mean(branch, near).or_else(|| {
                Some(
                    "`--branch` takes a branch where a repository has it; without the option, what the manifest says is taken"
                        .to_owned(),
                )
            }),
            Self::NoDefault { is_empty: true, .. } => Some("push a first commit".to_owned()),
            Self::NoDefault {
                is_empty: false, ..
            } => Some("name a branch in `git.reference`".to_owned()),
        }
    }
}

impl Diagnostic for ResolveErrors {
    fn exit(&self) -> Exit {
        Exit::Outside
    }

    fn hints(&self) -> Vec<String> {
        // Many remotes of one host fail for one reason.
        let hints: BTreeSet<String> = self.0.iter().filter_map(ResolveError::hint).collect();
        hints.into_iter().collect()
    }
}

struct Services<'a>(&'a [String]);

impl fmt::Display for Services<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(", "))
    }
}

/// Returns the question whether one of these names is meant.
///
/// It names what was asked for, as it may stand below the errors of many remotes.
fn did_you_mean(asked: &impl fmt::Display, near: &[String]) -> Option<String> {
    let (last, others) = near.split_last()?;
    let or = match others {
        [] => String::new(),
        others => format!("`{}` or ", others.join("`, `")),
    };
    Some(format!("did you mean {or}`{last}` instead of `{asked}`?"))
}

struct Unasked<'a>(&'a [GitUrl]);

impl fmt::Display for Unasked<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [] => Ok(()),
            urls => {
                let urls: Vec<String> = urls.iter().map(ToString::to_string).collect();
                write!(
                    f,
                    "; not asked, as it cannot be reached: {}",
                    urls.join(", ")
                )
            }
        }
    }
}

/// Finds the commit of every service, all remotes at once.
///
/// A full SHA-1 alone needs no connection, so nothing tells here whether the remote has it.
///
/// # Errors
///
/// Every remote that cannot be asked, and every reference that does not exist.
pub async fn resolve(
    client: &GitClient,
    requests: Vec<Request>,
) -> Result<BTreeMap<String, Resolution>, ResolveErrors> {
    let (resolved, errors) = resolve_each(client, requests).await;
    if errors.is_empty() {
        Ok(resolved)
    } else {
        Err(ResolveErrors(errors))
    }
}

/// Finds what can be found, as [`resolve`] does, and returns what is wrong beside it.
pub async fn resolve_each(
    client: &GitClient,
    requests: Vec<Request>,
) -> (BTreeMap<String, Resolution>, Vec<ResolveError>) {
    let mut resolved = BTreeMap::new();
    let mut remotes: BTreeMap<String, Vec<Request>> = BTreeMap::new();
    for request in requests {
        match &request.reference {
            GitReference::Commit(commit)
                if request.preferred_branch.is_none() && request.normal.is_none() =>
            {
                resolved.insert(request.service, Resolution::of_commit(*commit));
            }
            _ => remotes
                .entry(remote_key(&request.url))
                .or_default()
                .push(request),
        }
    }
    let mut errors = Vec::new();
    for (found, wrong) in join_all(
        remotes
            .into_values()
            .map(|requests| resolve_remote(client, requests)),
    )
    .await
    {
        resolved.extend(found);
        errors.extend(wrong);
    }
    (resolved, errors)
}

/// Makes sure that a branch is in one of these remotes at least: where none has it, its name is most
/// likely misspelt.
///
/// # Errors
///
/// No remote has it; with similar names from all of them.
pub async fn find_branch(
    client: &GitClient,
    branch: &RefName,
    urls: impl IntoIterator<Item = GitUrl>,
) -> Result<(), ResolveErrors> {
    let mut remotes: BTreeMap<String, GitUrl> = BTreeMap::new();
    for url in urls {
        remotes.entry(remote_key(&url)).or_insert(url);
    }
    let asked = join_all(remotes.into_values().map(|url| async move {
        let listed = client.list_branches_and_tags(&url).await;
        (url, listed)
    }));
    let (mut names, mut unasked) = (BTreeSet::new(), Vec::new());
    for (url, listed) in asked.await {
        match listed {
            Ok(refs) if preferred(&refs, branch).is_some() => return Ok(()),
            Ok(refs) => names.extend(refs.names().map(str::to_owned)),
            Err(_) => unasked.push(url),
        }
    }
    let branches = names.iter().map(String::as_str);
    let branches = branches.filter(|name| name.starts_with("refs/heads/"));
    Err(ResolveErrors(vec![ResolveError::NoSuchBranch {
        branch: branch.clone(),
        near: near_matches(branch.as_str(), branches),
        unasked,
    }]))
}

/// Spellings that lead to the same place with the same credentials share a connection.
pub(crate) fn remote_key(url: &GitUrl) -> String {
    let text = url.expose().trim_end_matches('/');
    text.strip_suffix(".git").unwrap_or(text).to_owned()
}

async fn resolve_remote(
    client: &GitClient,
    requests: Vec<Request>,
) -> (Vec<(String, Resolution)>, Vec<ResolveError>) {
    let Some(url) = requests.first().map(|request| request.url.clone()) else {
        return Default::default();
    };
    let wanted: Vec<GitReference> = requests.iter().flat_map(Request::wanted).collect();
    let refs = match client.list_refs(&url, &wanted).await {
        Ok(refs) => refs,
        Err(cause) => {
            let services = requests
                .into_iter()
                .map(|request| request.service)
                .collect();
            return (Vec::new(), vec![ResolveError::Remote { services, cause }]);
        }
    };
    let mut found = Vec::new();
    let mut missing: BTreeMap<GitReference, Vec<String>> = BTreeMap::new();
    for request in requests {
        match choose(&refs, &request) {
            Some(resolution) => found.push((request.service, resolution)),
            None => missing
                .entry(request.reference)
                .or_default()
                .push(request.service),
        }
    }
    if missing.is_empty() {
        return (found, Vec::new());
    }
    // Only now the whole list is worth a second question. That it fails must not hide the first error.
    let all = client.list_branches_and_tags(&url).await.unwrap_or(refs);
    let is_empty = all.names().next().is_none();
    let errors = missing.into_iter().map(|(reference, services)| {
        if is_empty || reference == GitReference::DefaultBranch {
            return ResolveError::NoDefault {
                services,
                url: url.clone(),
                is_empty,
            };
        }
        let near = suggestions(&reference, &all);
        ResolveError::NoSuchReference {
            services,
            url: url.clone(),
            reference,
            near,
        }
    });
    (found, errors.collect())
}

impl Resolution {
    fn of_commit(commit: CommitId) -> Self {
        Self {
            reference: ResolvedReference { commit, name: None },
            is_preferred: false,
            normal: None,
        }
    }
}

/// Chooses what a request stands for among a remote's references; none where the remote lacks it.
pub fn choose(refs: &RemoteRefs, request: &Request) -> Option<Resolution> {
    if let Some(branch) = &request.preferred_branch
        && let Some(reference) = preferred(refs, branch)
    {
        return Some(Resolution {
            reference,
            is_preferred: true,
            normal: stands_for(refs, &request.reference),
        });
    }
    Some(Resolution {
        reference: stands_for(refs, &request.reference)?,
        is_preferred: false,
        normal: request
            .normal
            .as_ref()
            .and_then(|normal| stands_for(refs, normal)),
    })
}

/// Returns what `--branch` takes of a remote, where it has it.
fn preferred(refs: &RemoteRefs, branch: &RefName) -> Option<ResolvedReference> {
    let without_origin = branch.as_str().strip_prefix("origin/");
    let branches = [Some(branch.as_str()), without_origin];
    branches.into_iter().flatten().find_map(|branch| {
        let name = format!("refs/heads/{branch}");
        refs.commit(&name).map(|commit| ResolvedReference {
            commit,
            name: Some(name),
        })
    })
}

/// Returns what a reference stands for in a remote, where it has it.
fn stands_for(refs: &RemoteRefs, reference: &GitReference) -> Option<ResolvedReference> {
    match reference {
        GitReference::Commit(commit) => Some(ResolvedReference {
            commit: *commit,
            name: None,
        }),
        GitReference::DefaultBranch => Some(ResolvedReference {
            commit: refs.commit("HEAD")?,
            name: refs.head().map(str::to_owned),
        }),
        named => named.candidates().into_iter().find_map(|name| {
            refs.commit(&name).map(|commit| ResolvedReference {
                commit,
                name: Some(name),
            })
        }),
    }
}

/// Returns names that may be meant, each written so that it stands for nothing else.
///
/// Where the kind was asked for, as in `tags/v1`, only that kind counts: a branch of the same name is
/// another commit.
fn suggestions(asked: &GitReference, refs: &RemoteRefs) -> Vec<String> {
    let text = asked.to_string();
    let short = text.strip_prefix("refs/").unwrap_or(&text);
    let kinds: &[&str] = match short.split_once('/') {
        Some(("heads", _)) => &["refs/heads/"],
        Some(("tags", _)) => &["refs/tags/"],
        _ => &["refs/heads/", "refs/tags/"],
    };
    let is_of_kind = |name: &&str| kinds.iter().any(|kind| name.starts_with(kind));
    let near = near_matches(&text, refs.names().filter(is_of_kind));
    let renamed = renamed_default(short, refs);
    let mut found: Vec<String> = renamed.into_iter().collect();
    for name in near {
        let full = kinds.iter().map(|kind| format!("{kind}{name}"));
        let full = full.filter(|full| refs.commit(full).is_some());
        for full in full {
            let written = unambiguous(&full, refs);
            if !found.contains(&written) {
                found.push(written);
            }
        }
    }
    found.truncate(NEAR_MATCHES);
    found
}

/// The names that default branches mostly have.
const USUAL_DEFAULTS: [&str; 4] = ["main", "master", "trunk", "develop"];

/// Returns the default branch, where what was asked for is likely to be its former name.
fn renamed_default(asked: &str, refs: &RemoteRefs) -> Option<String> {
    let asked = ["origin/", "heads/", "remotes/origin/"]
        .iter()
        .find_map(|prefix| asked.strip_prefix(prefix))
        .unwrap_or(asked);
    let head = refs.head()?;
    let is_former = USUAL_DEFAULTS.contains(&asked) && refs.commit(head).is_some();
    is_former.then(|| unambiguous(head, refs))
}

/// Returns the shortest name that stands for a reference.
fn unambiguous(full: &str, refs: &RemoteRefs) -> String {
    let without_refs = full.strip_prefix("refs/").unwrap_or(full);
    let short = without_refs
        .split_once('/')
        .map_or(without_refs, |(_, short)| short);
    let stands_for_it = |name: &&str| {
        let reference: Option<GitReference> = name.parse().ok();
        let found = reference.and_then(|reference| stands_for(refs, &reference));
        found.is_some_and(|found| found.name.as_deref() == Some(full))
    };
    let name = [short, without_refs].into_iter().find(stands_for_it);
    name.unwrap_or(full).to_owned()
}

/// Returns the names most like what was asked for: the same in another case or folder first.
fn near_matches<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let prefixes = [
        "origin/",
        "refs/heads/",
        "refs/tags/",
        "heads/",
        "tags/",
        "refs/remotes/origin/",
        "remotes/origin/",
    ];
    let wanted = prefixes
        .iter()
        .find_map(|prefix| wanted.strip_prefix(prefix))
        .unwrap_or(wanted)
        .to_lowercase();
    let mut near: Vec<(bool, usize, &str)> = names
        .filter_map(|name| {
            let short = ["refs/heads/", "refs/tags/"]
                .iter()
                .find_map(|prefix| name.strip_prefix(prefix))?;
            let lower = short.to_lowercase();
            let contains = lower.contains(&wanted) || wanted.contains(&lower);
            let distance = strsim::damerau_levenshtein(&wanted, &lower);
            (contains || distance <= wanted.len().max(3) / 3)
                .then_some((!contains, distance, short))
        })
        .collect();
    near.sort();
    near.dedup_by_key(|(_, _, name)| *name);
    near.into_iter()
        .take(NEAR_MATCHES)
        .map(|(_, _, name)| name.to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_matches_come_by_likeness() {
        let names = [
            "refs/heads/master",
            "refs/heads/feature/TASK-981",
            "refs/tags/v1.0",
            "refs/heads/main",
        ];
        let near = |wanted: &str| near_matches(wanted, names.into_iter());
        assert_eq!(near("origin/mastre"), ["master"]);
        assert_eq!(near("task-981"), ["feature/TASK-981"]);
        assert_eq!(near("v1.1"), ["v1.0"]);
        assert!(near("something-else").is_empty());
    }

    #[test]
    fn spellings_of_a_remote_share_a_connection() {
        let key = |text: &str| remote_key(&text.parse().unwrap());
        assert_eq!(key("https://h/x.git"), key("https://h/x/"));
        assert_ne!(key("https://bob:a@h/x"), key("https://h/x"));
    }
}
