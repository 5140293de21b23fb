//! The commits between two commits of a service.

use std::path::PathBuf;

use thiserror::Error;
use tokio::task::spawn_blocking;

use super::source::Sources;
use super::sync::{SyncError, SyncRequest, fetch_missing, fetch_whole_history};
use crate::client::git::{GitError, Opened, Watch, WorkingCopy};
use crate::source::{CommitId, CommitSummary, GitUrl, ResolvedReference};
use crate::task::joined;

/// Two commits of a service, and where they are.
#[derive(Debug, Clone)]
pub struct CommitsRequest {
    /// The working copy.
    pub dir: PathBuf,
    /// Where it is cloned from.
    pub remote: GitUrl,
    /// The folders that are the service, where it is not the whole repository.
    pub paths: Vec<String>,
    /// The commit before.
    pub from: ResolvedReference,
    /// The commit after.
    pub to: ResolvedReference,
    /// Whether to fetch, or to clone, what is missing.
    pub fetch: bool,
}

/// The commits between are not known.
#[derive(Debug, Error)]
pub enum CommitsError {
    /// There is no working copy, and none was to be made.
    #[error("there is no working copy {}", .0.display())]
    NoWorkingCopy(PathBuf),
    /// The working copy lacks a commit, and nothing was to be fetched.
    #[error("{} does not have the commit {commit}", dir.display())]
    Missing {
        /// The working copy.
        dir: PathBuf,
        /// What it lacks.
        commit: CommitId,
    },
    /// The remote does not give the commits out.
    #[error(transparent)]
    Sync(#[from] SyncError),
    /// The working copy cannot be read.
    #[error(transparent)]
    Git(#[from] GitError),
}

impl CommitsError {
    /// Returns what a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoWorkingCopy(_) | Self::Missing { .. } => None,
            Self::Sync(error) => error.hint().map(str::to_owned),
            Self::Git(error) => error.hint().map(str::to_owned),
        }
    }
}

/// Returns the commits that came, and those that went, the newest first.
///
/// No file of a working copy changes; where there is none, it is cloned.
///
/// # Errors
///
/// The commits cannot be had.
pub async fn commits_between(
    sources: &Sources,
    request: CommitsRequest,
) -> Result<(Vec<CommitSummary>, Vec<CommitSummary>), CommitsError> {
    let _lock = sources.lock(&request.dir).await;
    let (client, staging_dir) = (sources.git.clone(), sources.staging_dir.clone());
    let cancel = sources.cancel.clone();
    let read = spawn_blocking(move || {
        let watch = Watch {
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
                // What is between may be missing though both ends are here.
                if let Opened::WorkingCopy(working_copy) = WorkingCopy::open(&request.dir)?
                    && working_copy.is_shallow()
                {
                    fetch_whole_history(&client, &one, &watch)?;
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
    let added = working_copy.commits_between(from, to, &request.paths)?;
    let dropped = working_copy.commits_between(to, from, &request.paths)?;
    Ok((added, dropped))
}
