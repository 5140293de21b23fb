//! Lists the commits between two commits of a service.

use std::path::PathBuf;

use thiserror::Error;
use tokio::task::spawn_blocking;

use super::source::Sources;
use super::sync::{SyncError, SyncRequest, fetch_missing, unshallow};
use crate::base::task::joined;
use crate::client::git::{GitError, Opened, OperationContext, WorkingCopy};
use crate::model::source::{CommitId, CommitSummary, GitUrl, PathSelection, ResolvedReference};

/// Two commits of a service, and their repository.
#[derive(Debug, Clone)]
pub struct CommitsRequest {
    /// The working copy.
    pub dir: PathBuf,
    /// The URL to clone from.
    pub remote: GitUrl,
    /// The files of the service.
    pub selection: PathSelection,
    /// The old commit.
    pub from: ResolvedReference,
    /// The new commit.
    pub to: ResolvedReference,
    /// Whether to fetch or clone missing commits.
    pub fetch: bool,
}

/// Why the commits in between are unknown.
#[derive(Debug, Error)]
pub enum CommitsError {
    /// There is no working copy, and cloning was not allowed.
    #[error("no working copy at {}", .0.display())]
    NoWorkingCopy(PathBuf),
    /// The working copy does not have a commit, and fetching was not allowed.
    #[error("{} does not have the commit {commit}", dir.display())]
    Missing {
        /// The working copy.
        dir: PathBuf,
        /// The missing commit.
        commit: CommitId,
    },
    /// The commits cannot be fetched.
    #[error(transparent)]
    Sync(#[from] SyncError),
    /// The working copy cannot be read.
    #[error(transparent)]
    Git(#[from] GitError),
}

impl CommitsError {
    /// Returns the hint for the user.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoWorkingCopy(_) | Self::Missing { .. } => None,
            Self::Sync(error) => error.hint().map(str::to_owned),
            Self::Git(error) => error.hint().map(str::to_owned),
        }
    }
}

/// Returns the added and the dropped commits, the newest first.
///
/// Changes no files of a working copy; clones a missing one.
///
/// # Errors
///
/// If the commits are not available.
pub async fn commits_between(
    sources: &Sources,
    request: CommitsRequest,
) -> Result<(Vec<CommitSummary>, Vec<CommitSummary>), CommitsError> {
    let _lock = sources.lock(&request.dir).await;
    let (client, staging_dir) = (sources.git.clone(), sources.staging_dir.clone());
    let cancel = sources.cancel.clone();
    let read = spawn_blocking(move || {
        let watch = OperationContext {
            progress: &|_| (),
            cancel: &cancel,
        };
        if request.fetch {
            for resolved in [&request.to, &request.from] {
                let one = SyncRequest {
                    dir: &request.dir,
                    staging_dir: &staging_dir,
                    url: &request.remote,
                    resolved,
                    commit: resolved.commit,
                    moves: false,
                };
                fetch_missing(&client, &one, &watch)?;
                // Commits in between may be missing even if both ends are here.
                if let Opened::WorkingCopy(working_copy) = WorkingCopy::open(&request.dir)?
                    && working_copy.is_shallow()
                {
                    unshallow(&client, &one, &watch)?;
                }
            }
        }
        read(&request)
    });
    joined(read.await)
}

fn read(
    request: &CommitsRequest,
) -> Result<(Vec<CommitSummary>, Vec<CommitSummary>), CommitsError> {
    let Opened::WorkingCopy(working_copy) = WorkingCopy::open(&request.dir)? else {
        return Err(CommitsError::NoWorkingCopy(request.dir.clone()));
    };
    let (from, to) = (request.from.commit, request.to.commit);
    if let Some(commit) = [to, from]
        .into_iter()
        .find(|commit| !working_copy.has_commit(*commit))
    {
        let dir = request.dir.clone();
        return Err(CommitsError::Missing { dir, commit });
    }
    let added = working_copy.commits_between(from, to, &request.selection)?;
    let dropped = working_copy.commits_between(to, from, &request.selection)?;
    Ok((added, dropped))
}
