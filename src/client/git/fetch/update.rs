//! Fetches from a remote into a working copy.

use std::io::Write;

use git2::{
    AutotagOption, FetchOptions, FetchPrune, RemoteCallbacks, RemoteUpdateFlags, Repository,
};

use crate::client::git::error::address;
use crate::client::git::progress::OperationContext;
use crate::client::git::transport;
use crate::client::git::transport::Operation;
use crate::client::git::transport::limits::Purpose;
use crate::client::git::{GitClient, GitError, WorkingCopy};
use crate::model::source::{GitScheme, GitUrl};

/// Inputs of a fetch.
#[derive(Debug, Clone, Copy)]
pub struct Fetch<'a> {
    /// The remote: the URL in the manifest, not that in the working copy's configuration.
    pub url: &'a GitUrl,
    /// The refspecs, such as `+refs/heads/*:refs/remotes/origin/*`.
    pub refspecs: &'a [String],
    /// Which tags to fetch.
    pub tags: Tags,
    /// Whether to remove references that no longer exist on the remote.
    pub prune: bool,
    /// How much of the history to fetch.
    pub depth: Depth,
}

/// How much of the history to fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Depth {
    /// Only missing commits; a shallow clone remains shallow.
    #[default]
    Missing,
    /// The full history; a shallow clone is unshallowed.
    Whole,
}

/// Which tags to fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tags {
    /// All tags, as for a clone.
    All,
    /// Tags of the fetched commits; existing tags are not changed.
    Follow,
    /// None.
    None,
}

impl WorkingCopy {
    /// Fetches from a remote; files and local branches are not changed.
    ///
    /// # Errors
    ///
    /// The remote cannot be reached, refuses the request or lacks a commit, or the run was interrupted.
    pub fn fetch(
        &self,
        client: &GitClient,
        fetch: &Fetch<'_>,
        watch: &OperationContext<'_>,
    ) -> Result<(), GitError> {
        self::fetch(client, &self.repository, fetch, watch).map(drop)
    }
}

/// Fetches into a repository, and returns the full name of the remote's default branch.
pub fn fetch(
    client: &GitClient,
    repository: &Repository,
    fetch: &Fetch<'_>,
    watch: &OperationContext<'_>,
) -> Result<Option<String>, GitError> {
    let url = client.effective_url(fetch.url);
    let runtime = &client.shared.runtime;
    let wait = |future: &mut (dyn Future<Output = ()> + Unpin)| {
        runtime.block_on(async {
            tokio::select! {
                () = watch.cancel.cancelled() => Err(GitError::interrupted()),
                () = future => Ok(()),
            }
        })
    };
    let mut permit = None;
    wait(&mut Box::pin(async {
        permit = client.shared.limits.acquire(&url, Purpose::Transfer).await
    }))?;
    let host = address(&url);
    let retries = client.shared.http.retries();
    let mut attempts = retries.begin(host, format!("fetch of {url}"));
    loop {
        wait(&mut Box::pin(attempts.ready()))?;
        let what = || {
            format!(
                "cannot fetch from {url} into {}",
                repository.path().display()
            )
        };
        let run = || fetch_once(repository, &url, fetch, watch);
        let error = match Operation::run(client, &url, watch.cancel, what, run) {
            Ok(default_branch) => {
                attempts.record_success();
                return Ok(default_branch);
            }
            Err(error) => error,
        };
        match error
            .transient_failure()
            .and_then(|it| attempts.record_failure(it))
        {
            Some(retrying) => wait(&mut Box::pin(async move {
                tokio::time::sleep(retrying.wait).await;
            }))?,
            None => return Err(error),
        }
    }
}

fn fetch_once(
    repository: &Repository,
    url: &GitUrl,
    fetch: &Fetch<'_>,
    watch: &OperationContext<'_>,
) -> Result<Option<String>, git2::Error> {
    let address = if url.scheme() == GitScheme::File {
        url.path()
    } else {
        transport::URL
    };
    let mut remote = repository.remote_anonymous(address)?;
    let tags = match fetch.tags {
        Tags::All => AutotagOption::All,
        Tags::Follow => AutotagOption::Auto,
        Tags::None => AutotagOption::None,
    };
    let mut callbacks = RemoteCallbacks::new();
    callbacks.transfer_progress(|stats| watch.transfer(&stats));
    callbacks.sideband_progress(|_| !watch.cancel.is_cancelled());
    let mut options = FetchOptions::new();
    options
        .remote_callbacks(callbacks)
        .prune(FetchPrune::Off)
        .download_tags(tags);
    if fetch.depth == Depth::Whole {
        // libgit2's equivalent of `--unshallow`.
        options.depth(i32::MAX);
    }
    remote.download(fetch.refspecs, Some(&mut options))?;
    if fetch.prune {
        // Prune before writing the new references: an old `a` conflicts with a new `a/b`.
        remote.prune(None)?;
    }
    // No `FETCH_HEAD`: it would name a URL that only xp understands.
    remote.update_tips(None, RemoteUpdateFlags::empty(), tags, Some("xp: fetch"))?;
    let default_branch = remote.default_branch().ok();
    Ok(default_branch.and_then(|name| name.as_str().ok().map(str::to_owned)))
}

/// Copies a commit and its objects from a repository on this machine.
///
/// libgit2 fetches by SHA-1 only from servers; its local transport supports only references.
pub fn copy_commit(
    repository: &Repository,
    url: &GitUrl,
    commit: git2::Oid,
    watch: &OperationContext<'_>,
) -> Result<(), git2::Error> {
    let source = Repository::open(url.path())?;
    let mut walk = source.revwalk()?;
    walk.push(commit)?;
    for reference in repository.references()? {
        if let Some(known) = reference?
            .target()
            .filter(|known| source.find_commit(*known).is_ok())
        {
            walk.hide(known)?;
        }
    }
    let mut pack = source.packbuilder()?;
    pack.insert_walk(&mut walk)?;
    let odb = repository.odb()?;
    let mut writer = odb.packwriter()?;
    pack.foreach(|bytes| !watch.cancel.is_cancelled() && writer.write_all(bytes).is_ok())?;
    writer.commit()?;
    Ok(())
}
