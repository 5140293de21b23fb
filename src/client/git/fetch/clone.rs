//! Clones a repository; the result looks like that of `git clone`.

use std::path::Path;

use git2::build::CheckoutBuilder;
use git2::{ErrorCode, Index, Repository, RepositoryInitOptions};

use crate::client::git::error::GitErrorKind;
use crate::client::git::fetch::update::{Depth, Fetch, Tags, copy_commit, fetch};
use crate::client::git::progress::OperationContext;
use crate::client::git::worktree::quoted_patterns;
use crate::client::git::worktree::working_copy::{DETACHED_AT, oid};
use crate::client::git::{GitClient, GitError, WorkingCopy};
use crate::model::source::{GitScheme, GitUrl, PathSelection, ResolvedReference};

/// Inputs of a clone.
#[derive(Debug, Clone, Copy)]
pub struct CloneRequest<'a> {
    /// The remote; its secrets are not written to the configuration.
    pub url: &'a GitUrl,
    /// The target folder, which must be empty or not exist.
    pub into: &'a Path,
    /// What to check out: a branch, or a commit (detached).
    pub checkout: &'a ResolvedReference,
}

/// Clones all branches and tags, and checks out one commit.
///
/// The user's hooks and templates are not used.
///
/// # Errors
///
/// The remote cannot be reached, refuses the request or does not have the commit, or a file cannot be
/// written.
pub fn clone(
    client: &GitClient,
    request: &CloneRequest<'_>,
    watch: &OperationContext<'_>,
) -> Result<WorkingCopy, GitError> {
    let failed = |cause| {
        GitError::local(
            format!(
                "cannot clone {} into {}",
                request.url,
                request.into.display()
            ),
            cause,
        )
    };
    let repository = initialize(request).map_err(failed)?;
    let branches = ["+refs/heads/*:refs/remotes/origin/*".to_owned()];
    let all = Fetch {
        url: request.url,
        refspecs: &branches,
        tags: Tags::All,
        prune: false,
        depth: Depth::Missing,
    };
    let default_branch = fetch(client, &repository, &all, watch)?;
    let working_copy = WorkingCopy {
        repository,
        dir: request.into.to_owned(),
    };
    if !working_copy.has_commit(request.checkout.commit) {
        working_copy.fetch_commit(client, request.url, request.checkout, watch)?;
    }
    let mut index = Index::new().map_err(failed)?;
    oid(request.checkout.commit)
        .and_then(|id| working_copy.repository.find_commit(id)?.tree())
        .and_then(|tree| index.read_tree(&tree))
        .map_err(failed)?;
    quoted_patterns::check(&working_copy.repository, &index, &PathSelection::default())?;
    check_out(
        &working_copy.repository,
        request,
        default_branch.as_deref(),
        watch,
    )
    .map_err(failed)?;
    if request.checkout.branch().is_none() {
        working_copy.set_xp_reference(DETACHED_AT, request.checkout.commit)?;
    }
    Ok(working_copy)
}

impl WorkingCopy {
    /// Fetches a commit that no branch or tag contains: by the resolved reference, or else by its SHA-1.
    ///
    /// # Errors
    ///
    /// As for [`WorkingCopy::fetch`]; the kind is [`GitErrorKind::MissingCommit`] if the remote does not
    /// serve the commit.
    pub fn fetch_commit(
        &self,
        client: &GitClient,
        url: &GitUrl,
        resolved: &ResolvedReference,
        watch: &OperationContext<'_>,
    ) -> Result<(), GitError> {
        // A reference keeps the commit from being garbage-collected.
        let pinned = "refs/xp/pinned";
        if let Some(name) = &resolved.name {
            let refspecs = [format!("+{name}:{pinned}")];
            let by_name = Fetch {
                url,
                refspecs: &refspecs,
                tags: Tags::None,
                prune: false,
                depth: Depth::Missing,
            };
            match self.fetch(client, &by_name, watch) {
                // The reference was deleted after it was resolved.
                Err(error) if error.kind() == GitErrorKind::Local => {}
                result => result?,
            }
            if self.has_commit(resolved.commit) {
                return Ok(());
            }
        }
        let effective = client.effective_url(url);
        if effective.scheme() == GitScheme::File {
            oid(resolved.commit)
                .and_then(|id| copy_commit(&self.repository, &effective, id, watch))
                .map_err(|cause| {
                    let is_missing = cause.code() == ErrorCode::NotFound;
                    let what = format!("copy {} from {url}", resolved.commit);
                    let error = self.failed(&what, cause);
                    if is_missing {
                        error.with_kind(GitErrorKind::MissingCommit)
                    } else {
                        error
                    }
                })?;
            return self.set_xp_reference("pinned", resolved.commit);
        }
        let refspecs = [format!("+{}:{pinned}", resolved.commit)];
        let by_sha = Fetch {
            url,
            refspecs: &refspecs,
            tags: Tags::None,
            prune: false,
            depth: Depth::Missing,
        };
        match self.fetch(client, &by_sha, watch) {
            // libgit2 fails this way if the server serves only advertised references.
            Err(error) if matches!(error.kind(), GitErrorKind::Local | GitErrorKind::Protocol) => {
                self.fetch_everything(client, url, watch)?;
                if self.has_commit(resolved.commit) {
                    self.set_xp_reference("pinned", resolved.commit)
                } else {
                    Err(error.with_kind(GitErrorKind::MissingCommit))
                }
            }
            result => result,
        }
    }

    /// Fetches all references: with the protocol version of libgit2, plain git servers do not serve commits
    /// by SHA-1.
    fn fetch_everything(
        &self,
        client: &GitClient,
        url: &GitUrl,
        watch: &OperationContext<'_>,
    ) -> Result<(), GitError> {
        let refspecs = ["+refs/*:refs/xp/everything/*".to_owned()];
        let everything = Fetch {
            url,
            refspecs: &refspecs,
            tags: Tags::None,
            prune: false,
            depth: Depth::Missing,
        };
        let result = self.fetch(client, &everything, watch);
        if let Ok(references) = self.repository.references_glob("refs/xp/everything/*") {
            for mut reference in references.flatten() {
                // A leftover reference is harmless.
                let _ = reference.delete();
            }
        }
        result
    }
}

fn initialize(request: &CloneRequest<'_>) -> Result<Repository, git2::Error> {
    let mut options = RepositoryInitOptions::new();
    options
        .no_reinit(true)
        .mkdir(true)
        .mkpath(true)
        .external_template(false);
    if let Some(branch) = request.checkout.branch() {
        options.initial_head(branch);
    }
    let repository = Repository::init_opts(request.into, &options)?;
    let mut config = repository.config()?.open_level(git2::ConfigLevel::Local)?;
    config.set_str("remote.origin.url", &request.url.without_secrets())?;
    config.set_str("remote.origin.fetch", "+refs/heads/*:refs/remotes/origin/*")?;
    Ok(repository)
}

fn check_out(
    repository: &Repository,
    request: &CloneRequest<'_>,
    default_branch: Option<&str>,
    watch: &OperationContext<'_>,
) -> Result<(), git2::Error> {
    let commit = repository.find_commit(oid(request.checkout.commit)?)?;
    if let Some(name) = default_branch.and_then(|name| name.strip_prefix("refs/heads/")) {
        let remote_branch = format!("refs/remotes/origin/{name}");
        repository.reference_symbolic(
            "refs/remotes/origin/HEAD",
            &remote_branch,
            true,
            "xp: clone",
        )?;
    }
    // Write the files first: if `HEAD` were set without them, they would appear deleted.
    let mut options = CheckoutBuilder::new();
    options
        .force()
        .progress(|_, done, total| watch.checkout(done, total));
    repository.checkout_tree(commit.as_object(), Some(&mut options))?;
    let message = format!("clone: from {}", request.url);
    match request.checkout.branch() {
        Some(branch) => {
            let name = format!("refs/heads/{branch}");
            repository.reference(&name, commit.id(), true, &message)?;
            repository.set_head(&name)?;
            let mut config = repository.config()?.open_level(git2::ConfigLevel::Local)?;
            config.set_str(&format!("branch.{branch}.remote"), "origin")?;
            config.set_str(&format!("branch.{branch}.merge"), &name)
        }
        None => repository.set_head_detached(commit.id()),
    }
}
