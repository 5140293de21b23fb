//! Fetching from a remote into a working copy.

use std::io::Write;

use git2::{
    AutotagOption, FetchOptions, FetchPrune, RemoteCallbacks, RemoteUpdateFlags, Repository,
};

use super::error::address;
use super::progress::Watch;
use super::transport::{self, Operation};
use super::{GitClient, GitError, WorkingCopy};
use crate::source::{GitScheme, GitUrl};

/// What to fetch.
#[derive(Debug, Clone, Copy)]
pub struct Fetch<'a> {
    /// From where: the manifest's URL, whatever the working copy's configuration says.
    pub url: &'a GitUrl,
    /// Which references become which, such as `+refs/heads/*:refs/remotes/origin/*`.
    pub refspecs: &'a [String],
    /// Which tags come along.
    pub tags: Tags,
    /// Whether to remove references that the remote has no longer.
    pub prune: bool,
    /// How much of the history.
    pub depth: Depth,
}

/// How much of the history comes with a fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Depth {
    /// What is not here yet; a shallow clone stays one.
    #[default]
    Missing,
    /// All of it, of a shallow clone too.
    Whole,
}

/// Which tags come along with a fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tags {
    /// All of them, as for a clone.
    All,
    /// Those of commits that come anyway; a tag that is here already stays as it is.
    Follow,
    /// None.
    None,
}

impl WorkingCopy {
    /// Fetches; no file and no branch of the user's changes.
    ///
    /// # Errors
    ///
    /// The remote cannot be reached or refuses, a wanted commit is not there, or the run was
    /// interrupted.
    pub fn fetch(
        &self,
        client: &GitClient,
        fetch: &Fetch<'_>,
        watch: &Watch<'_>,
    ) -> Result<(), GitError> {
        self::fetch(client, &self.repository, fetch, watch).map(drop)
    }
}

/// Fetches into a repository, and returns the full name of the remote's default branch.
pub(super) fn fetch(
    client: &GitClient,
    repository: &Repository,
    fetch: &Fetch<'_>,
    watch: &Watch<'_>,
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
        permit = client.shared.limits.acquire(&url).await
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
                attempts.answered();
                return Ok(default_branch);
            }
            Err(error) => error,
        };
        match error.trouble().and_then(|it| attempts.after(it)) {
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
    watch: &Watch<'_>,
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
        // What libgit2 takes for `--unshallow`.
        options.depth(i32::MAX);
    }
    remote.download(fetch.refspecs, Some(&mut options))?;
    if fetch.prune {
        // Before the new references are written: an old `a` is in the way of a new `a/b`.
        remote.prune(None)?;
    }
    // No `FETCH_HEAD`: it would name a URL that only xp understands.
    remote.update_tips(None, RemoteUpdateFlags::empty(), tags, Some("xp: fetch"))?;
    let default_branch = remote.default_branch().ok();
    Ok(default_branch.and_then(|name| name.as_str().ok().map(str::to_owned)))
}

/// Copies a commit and what belongs to it from a repository on this machine.
///
/// libgit2 fetches by SHA-1 from servers only; its way of reading local repositories knows references alone.
pub(super) fn copy_commit(
    repository: &Repository,
    url: &GitUrl,
    commit: git2::Oid,
    watch: &Watch<'_>,
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
