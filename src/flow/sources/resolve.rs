//! Resolves references to commits, with one connection per distinct remote.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use futures_util::future::join_all;
use thiserror::Error;

use crate::base::error::{Diagnostic, Exit, chain};
use crate::base::suggest;
use crate::client::git::{GitClient, GitError, RemoteRefs};
use crate::execute::scm::PluginCallError;
use crate::model::manifest::{BuilderImage, ScmPlugin, Service, Source};
use crate::model::source::{CommitId, GitReference, GitUrl, RefName, ResolvedReference};

/// The maximum number of similar names in an error.
const NEAR_MATCHES: usize = 3;

/// The references to resolve for one service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolveRequest {
    pub service: String,
    pub remote: RequestedRemote,
    /// The manifest's reference, or that of `--reference`.
    pub reference: GitReference,
    /// The branch of `--branch`, used if the remote has it.
    pub preferred_branch: Option<RefName>,
    /// The manifest's reference if `reference` differs from it and its commit is needed for comparison.
    pub manifest_reference: Option<GitReference>,
}

/// The repository of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestedRemote {
    Git(GitUrl),
    Plugin(Box<ScmPlugin>),
}

impl RequestedRemote {
    /// Returns the repository of a service.
    pub fn of(service: &Service) -> Self {
        match &service.source {
            Source::Git(git) => Self::Git(git.remote.clone()),
            Source::Plugin(plugin) => Self::Plugin(Box::new(plugin.clone())),
        }
    }

    /// Returns the git remote.
    pub fn git(&self) -> Option<&GitUrl> {
        match self {
            Self::Git(url) => Some(url),
            Self::Plugin(_) => None,
        }
    }
}

impl ResolveRequest {
    /// Returns all references to query from the remote.
    pub fn wanted(&self) -> impl Iterator<Item = GitReference> {
        let preferred = self.preferred_branch.clone().map(GitReference::Named);
        std::iter::once(self.reference.clone())
            .chain(preferred)
            .chain(self.manifest_reference.clone())
    }
}

/// The resolved reference of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolution {
    /// The commit, and the full name of the reference.
    pub reference: ResolvedReference,
    /// Whether it is the branch of `--branch`.
    pub is_from_branch: bool,
    /// The manifest's reference, if it is a different one and exists.
    pub manifest_reference: Option<ResolvedReference>,
    /// The time of the commit, in seconds since 1970, if a plugin reported it.
    pub commit_time: Option<i64>,
}

/// All errors, in the order of the services.
#[derive(Debug, Clone, Error)]
#[error("{}", summary(.0))]
pub struct ResolveErrors(pub Vec<ResolveError>);

/// Renders each error with its causes, because `Error::source` can return only one.
fn summary(errors: &[ResolveError]) -> String {
    let texts: Vec<String> = errors.iter().map(|error| chain(error)).collect();
    texts.join("\nerror: ")
}

/// A remote failed, or lacks a reference.
#[derive(Debug, Clone, Error)]
pub enum ResolveError {
    /// The remote could not be queried.
    #[error("{} cannot be resolved", ServiceList(services))]
    Remote {
        /// The services on it.
        services: Vec<String>,
        /// The cause, which names the remote.
        #[source]
        cause: GitError,
    },
    /// The remote has no such branch, tag or reference.
    #[error(
        "{} cannot be resolved: {url} has no branch or tag `{reference}`",
        ServiceList(services)
    )]
    NoSuchReference {
        /// The services that use the reference.
        services: Vec<String>,
        url: GitUrl,
        /// The requested reference.
        reference: GitReference,
        /// Similar names.
        near: Vec<String>,
    },
    /// A plugin failed.
    #[error("{} cannot be resolved", ServiceList(services))]
    Plugin {
        /// The services whose source it reads.
        services: Vec<String>,
        #[source]
        cause: PluginCallError,
    },
    /// A plugin does not find the reference.
    #[error(
        "{} cannot be resolved: {plugin} finds no {} in {url} ({location})",
        ServiceList(services),
        Requested(reference)
    )]
    NotInPlugin {
        services: Vec<String>,
        plugin: BuilderImage,
        /// The repository.
        url: String,
        /// The requested reference.
        reference: GitReference,
        /// Where the manifest sets the plugin.
        location: String,
    },
    /// No remote has the branch of `--branch`.
    #[error(
        "no repository in the manifest has a branch `{branch}`{}",
        Unreachable(unreachable)
    )]
    NoSuchBranch {
        branch: RefName,
        /// Similar names in any of the remotes.
        near: Vec<String>,
        /// The remotes that could not be queried.
        unreachable: Vec<GitUrl>,
    },
    /// The remote is empty, or its `HEAD` points to a branch that does not exist.
    #[error("{} cannot be resolved: the repository {url} {}", ServiceList(services), if *.is_empty { "is empty" } else { "has no default branch" })]
    NoDefault {
        /// The services on it.
        services: Vec<String>,
        url: GitUrl,
        /// Whether it has no branches.
        is_empty: bool,
    },
}

impl ResolveError {
    /// Returns a hint on how to fix it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Remote { cause, .. } => cause.hint().map(str::to_owned),
            Self::Plugin { cause, .. } => cause.hints.first().cloned(),
            Self::NotInPlugin { .. } => {
                Some("it is set by `scm.reference` or `--reference`".to_owned())
            }
            Self::NoSuchReference {
                reference, near, ..
            } => did_you_mean(reference, near).or_else(|| {
                let hint = if CommitId::is_shortened(&reference.to_string()) {
                    "to specify a commit, use the full 40-digit SHA-1"
                } else {
                    "it is set by `git.reference` or `--reference`; `git ls-remote` lists all \
                     references"
                };
                Some(hint.to_owned())
            }),
            Self::NoSuchBranch { branch, near, .. } => did_you_mean(branch, near).or_else(|| {
                Some(
                    "`--branch` requires the branch in at least one repository; omit it to use the references in the manifest"
                        .to_owned(),
                )
            }),
            Self::NoDefault { is_empty: true, .. } => Some("push a first commit".to_owned()),
            Self::NoDefault {
                is_empty: false, ..
            } => Some("set `git.reference` to a branch".to_owned()),
        }
    }
}

impl Diagnostic for ResolveErrors {
    fn exit(&self) -> Exit {
        // A name that no remote has is a mistake, not a failure of the remote.
        let is_mistake = |error: &ResolveError| match error {
            ResolveError::NoSuchReference { .. } | ResolveError::NotInPlugin { .. } => true,
            ResolveError::NoSuchBranch { unreachable, .. } => unreachable.is_empty(),
            ResolveError::Remote { .. }
            | ResolveError::NoDefault { .. }
            | ResolveError::Plugin { .. } => false,
        };
        let is_of_plugin = |error: &ResolveError| matches!(error, ResolveError::Plugin { cause, .. } if !cause.is_outside);
        if self.0.iter().all(is_mistake) {
            Exit::Usage
        } else if self.0.iter().all(is_of_plugin) {
            Exit::ServiceFailed
        } else {
            Exit::Outside
        }
    }

    fn hints(&self) -> Vec<String> {
        // Remotes of one host often fail for the same reason, so duplicates are removed.
        let hints: BTreeSet<String> = self.0.iter().filter_map(ResolveError::hint).collect();
        hints.into_iter().collect()
    }
}

struct Requested<'a>(&'a GitReference);

impl fmt::Display for Requested<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            GitReference::DefaultBranch => f.write_str("default branch"),
            reference => write!(f, "reference `{reference}`"),
        }
    }
}

struct ServiceList<'a>(&'a [String]);

impl fmt::Display for ServiceList<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(", "))
    }
}

/// Returns a "did you mean" hint. It names the requested reference too, because it may follow the errors of several
/// remotes.
fn did_you_mean(requested: &impl fmt::Display, near: &[String]) -> Option<String> {
    let (last, others) = near.split_last()?;
    let or = match others {
        [] => String::new(),
        others => format!("`{}` or ", others.join("`, `")),
    };
    Some(format!(
        "did you mean {or}`{last}` instead of `{requested}`?"
    ))
}

struct Unreachable<'a>(&'a [GitUrl]);

impl fmt::Display for Unreachable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [] => Ok(()),
            urls => {
                let urls: Vec<String> = urls.iter().map(ToString::to_string).collect();
                write!(f, "; could not reach {}", urls.join(", "))
            }
        }
    }
}

/// Resolves the references of all services, querying the remotes concurrently.
///
/// A full SHA-1 needs no connection, so it is not checked whether the remote has it.
///
/// # Errors
///
/// Every remote that cannot be queried, and every reference that does not exist.
pub async fn resolve(
    client: &GitClient,
    requests: Vec<ResolveRequest>,
) -> Result<BTreeMap<String, Resolution>, ResolveErrors> {
    let (resolved, errors) = resolve_each(client, requests).await;
    if errors.is_empty() {
        Ok(resolved)
    } else {
        Err(ResolveErrors(errors))
    }
}

/// Like [`resolve`], but returns the successful results together with the errors. Services whose source comes from a
/// plugin are skipped.
pub async fn resolve_each(
    client: &GitClient,
    requests: Vec<ResolveRequest>,
) -> (BTreeMap<String, Resolution>, Vec<ResolveError>) {
    let mut resolved = BTreeMap::new();
    let mut remotes: BTreeMap<String, Vec<ResolveRequest>> = BTreeMap::new();
    for request in requests {
        // Plugins are queried by `super::plugin`.
        let Some(url) = request.remote.git() else {
            continue;
        };
        match &request.reference {
            GitReference::Commit(commit)
                if request.preferred_branch.is_none() && request.manifest_reference.is_none() =>
            {
                resolved.insert(request.service, Resolution::of_commit(*commit));
            }
            _ => remotes.entry(remote_key(url)).or_default().push(request),
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

/// Checks that at least one of these remotes has a branch; otherwise its name is most likely misspelled.
///
/// # Errors
///
/// No remote has it; the error contains similar names from all of them.
pub async fn find_branch(
    client: &GitClient,
    branch: &RefName,
    urls: impl IntoIterator<Item = GitUrl>,
) -> Result<(), ResolveErrors> {
    let mut remotes: BTreeMap<String, GitUrl> = BTreeMap::new();
    for url in urls {
        remotes.entry(remote_key(&url)).or_insert(url);
    }
    let queries = join_all(remotes.into_values().map(|url| async move {
        let listed = client.list_branches_and_tags(&url).await;
        (url, listed)
    }));
    let (mut names, mut unreachable) = (BTreeSet::new(), Vec::new());
    for (url, listed) in queries.await {
        match listed {
            Ok(refs) if preferred(&refs, branch).is_some() => return Ok(()),
            Ok(refs) => names.extend(refs.names().map(str::to_owned)),
            Err(_) => unreachable.push(url),
        }
    }
    let branches = names.iter().map(String::as_str);
    let branches = branches.filter(|name| name.starts_with("refs/heads/"));
    Err(ResolveErrors(vec![ResolveError::NoSuchBranch {
        branch: branch.clone(),
        near: near_matches(branch.as_str(), branches),
        unreachable,
    }]))
}

/// Returns the key by which URLs share a connection: same location and credentials, in any spelling.
pub(crate) fn remote_key(url: &GitUrl) -> String {
    let text = url.expose().trim_end_matches('/');
    text.strip_suffix(".git").unwrap_or(text).to_owned()
}

async fn resolve_remote(
    client: &GitClient,
    requests: Vec<ResolveRequest>,
) -> (Vec<(String, Resolution)>, Vec<ResolveError>) {
    let url = requests.first().and_then(|request| request.remote.git());
    let Some(url) = url.cloned() else {
        return Default::default();
    };
    let wanted: Vec<GitReference> = requests.iter().flat_map(ResolveRequest::wanted).collect();
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
        match resolve_from_refs(&refs, &request) {
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
    // The full list is queried only for suggestions; if that fails, the original error is still reported.
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
            is_from_branch: false,
            manifest_reference: None,
            commit_time: None,
        }
    }
}

/// Resolves a request with the references of a remote; `None` if the remote lacks it.
pub fn resolve_from_refs(refs: &RemoteRefs, request: &ResolveRequest) -> Option<Resolution> {
    if let Some(branch) = &request.preferred_branch
        && let Some(reference) = preferred(refs, branch)
    {
        return Some(Resolution {
            reference,
            is_from_branch: true,
            manifest_reference: lookup(refs, &request.reference),
            commit_time: None,
        });
    }
    Some(Resolution {
        reference: lookup(refs, &request.reference)?,
        is_from_branch: false,
        manifest_reference: request
            .manifest_reference
            .as_ref()
            .and_then(|manifest_reference| lookup(refs, manifest_reference)),
        commit_time: None,
    })
}

/// Returns the branch of `--branch` if the remote has it.
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

/// Resolves a reference in a remote; `None` if the remote lacks it.
fn lookup(refs: &RemoteRefs, reference: &GitReference) -> Option<ResolvedReference> {
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

/// Returns similar names, each written unambiguously.
///
/// If the request names a kind, as in `tags/v1`, only that kind is suggested: a branch of the same name may be another
/// commit.
fn suggestions(requested: &GitReference, refs: &RemoteRefs) -> Vec<String> {
    let text = requested.to_string();
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

/// Common names of default branches.
const USUAL_DEFAULTS: [&str; 4] = ["main", "master", "trunk", "develop"];

/// Returns the default branch if the requested name is likely its former name.
fn renamed_default(requested: &str, refs: &RemoteRefs) -> Option<String> {
    let requested = ["origin/", "heads/", "remotes/origin/"]
        .iter()
        .find_map(|prefix| requested.strip_prefix(prefix))
        .unwrap_or(requested);
    let head = refs.head()?;
    let is_former = USUAL_DEFAULTS.contains(&requested) && refs.commit(head).is_some();
    is_former.then(|| unambiguous(head, refs))
}

/// Returns the shortest unambiguous name of a reference.
fn unambiguous(full: &str, refs: &RemoteRefs) -> String {
    let without_refs = full.strip_prefix("refs/").unwrap_or(full);
    let short = without_refs
        .split_once('/')
        .map_or(without_refs, |(_, short)| short);
    let resolves_to_it = |name: &&str| {
        let reference: Option<GitReference> = name.parse().ok();
        let found = reference.and_then(|reference| lookup(refs, &reference));
        found.is_some_and(|found| found.name.as_deref() == Some(full))
    };
    let name = [short, without_refs].into_iter().find(resolves_to_it);
    name.unwrap_or(full).to_owned()
}

/// Returns the most similar names; those that differ only in case or folder come first.
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
        .unwrap_or(wanted);
    let short = names.filter_map(|name| {
        let mut kinds = ["refs/heads/", "refs/tags/"].iter();
        kinds.find_map(|kind| name.strip_prefix(kind))
    });
    let similar = suggest::similar(wanted, short, NEAR_MATCHES);
    similar.into_iter().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_matches_are_sorted_by_similarity() {
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
