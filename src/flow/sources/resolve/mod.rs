//! Resolves references to commits, with one connection per distinct remote.

mod error;
mod lookup;
mod near;

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;

pub use self::error::{ResolveError, ResolveErrors};
use self::lookup::preferred;
pub use self::lookup::resolve_from_refs;
use self::near::{near_matches, suggestions};
use crate::client::git::GitClient;
use crate::model::manifest::{ScmPlugin, Service, Source};
use crate::model::source::{CommitId, GitReference, GitScheme, GitUrl, RefName, ResolvedReference};

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
    // On this machine, these are two folders.
    let is_remote = url.scheme() != GitScheme::File;
    let name = text.strip_suffix(".git").filter(|_| is_remote);
    name.unwrap_or(text).to_owned()
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
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_a_remote_share_a_connection() {
        let key = |text: &str| remote_key(&text.parse().unwrap());
        assert_eq!(key("https://h/x.git"), key("https://h/x/"));
        assert_ne!(key("https://bob:a@h/x"), key("https://h/x"));
        assert_ne!(key("/srv/x"), key("/srv/x.git"));
    }
}
