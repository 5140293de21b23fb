//! Ensures that a commit is in the object store of a working copy, by cloning or fetching.

use super::in_use_note::InUseNote;
use super::staging::{self, Staging};
use super::{SyncError, SyncRequest};
use crate::client::git::clone;
use crate::client::git::{
    CloneRequest, Depth, Fetch, GitClient, GitError, GitErrorKind, Head, Opened, OperationContext,
    Tags, WorkingCopy,
};
use crate::model::source::{CommitId, GitScheme, ResolvedReference};

/// Ensures that a commit is in the object store, as [`sync`] does, but does not update an existing working copy.
/// Returns whether it was cloned.
///
/// # Errors
///
/// As for [`sync`].
pub fn fetch_objects(
    client: &GitClient,
    request: &SyncRequest<'_>,
    watch: &OperationContext<'_>,
) -> Result<bool, SyncError> {
    let _note = InUseNote::begin(request.staging_dir, request.dir);
    Ok(ensure_present(client, request, watch)?.is_none())
}

/// Fetches the commits into the object store; returns `None` if the working copy was cloned.
pub(super) fn ensure_present(
    client: &GitClient,
    request: &SyncRequest<'_>,
    watch: &OperationContext<'_>,
) -> Result<Option<(WorkingCopy, Tracking, Option<CommitId>)>, SyncError> {
    staging::remove_stale(request.staging_dir);
    let dir = request.dir.to_owned();
    let working_copy = match WorkingCopy::open(request.dir)? {
        Opened::Nothing => {
            clone_anew(client, request, watch)?;
            return Ok(None);
        }
        Opened::OtherFiles => return Err(SyncError::OtherFiles { dir }),
        Opened::NotAFolder => return Err(SyncError::NotAFolder { dir }),
        Opened::WorkingCopy(working_copy) => working_copy,
    };
    if working_copy.head()? == Head::Unborn {
        return Err(SyncError::NoCommits { dir });
    }
    let remote = working_copy.remote_of(client, request.url);
    let tracking = Tracking::of(&working_copy, remote, request.resolved);
    let before = tracking.commit(&working_copy);
    ensure_commit(client, &working_copy, &tracking, request, watch)?;
    ensure_earlier_commit(client, &working_copy, &tracking, request, watch)?;
    Ok(Some((working_copy, tracking, before)))
}

/// Unshallows a working copy. Shallow clones are kept until a commit outside their history is needed.
///
/// # Errors
///
/// As for [`sync`]; if the remote is on this machine, the hint has the command that does it.
pub fn unshallow(
    client: &GitClient,
    request: &SyncRequest<'_>,
    watch: &OperationContext<'_>,
) -> Result<(), SyncError> {
    let _note = InUseNote::begin(request.staging_dir, request.dir);
    let Opened::WorkingCopy(working_copy) = WorkingCopy::open(request.dir)? else {
        let dir = request.dir.to_owned();
        return Err(SyncError::OtherFiles { dir });
    };
    let remote = working_copy.remote_of(client, request.url);
    let tracking = Tracking::of(&working_copy, remote, request.resolved);
    Ok(working_copy.unshallow(client, request.url, &tracking.refspecs, watch)?)
}

/// Fetches the commit to build if it is not in the local history.
fn ensure_earlier_commit(
    client: &GitClient,
    working_copy: &WorkingCopy,
    tracking: &Tracking,
    request: &SyncRequest<'_>,
    watch: &OperationContext<'_>,
) -> Result<(), SyncError> {
    if working_copy.has_commit(request.commit) {
        return Ok(());
    }
    if working_copy.is_shallow() {
        working_copy.unshallow(client, request.url, &tracking.refspecs, watch)?;
    }
    if working_copy.has_commit(request.commit) {
        return Ok(());
    }
    let by_sha = ResolvedReference {
        commit: request.commit,
        name: None,
    };
    working_copy
        .fetch_commit(client, request.url, &by_sha, watch)
        .map_err(|error| missing_or(request, error))
}

/// Ensures that a commit is in the object store, as [`fetch_objects`] does; no connection if it is there already.
///
/// # Errors
///
/// As for [`sync`].
pub fn fetch_missing(
    client: &GitClient,
    request: &SyncRequest<'_>,
    watch: &OperationContext<'_>,
) -> Result<(), SyncError> {
    let has_commit = |working_copy: &WorkingCopy| working_copy.has_commit(request.commit);
    match WorkingCopy::open(request.dir)? {
        Opened::WorkingCopy(working_copy) if has_commit(&working_copy) => return Ok(()),
        _ => {}
    }
    let missing = match fetch_objects(client, request, watch) {
        Err(error @ SyncError::MissingCommit { .. }) => error,
        result => return result.map(drop),
    };
    // A plain git server does not serve single commits, but it can complete a shallow history.
    match WorkingCopy::open(request.dir)? {
        Opened::WorkingCopy(working_copy) if working_copy.is_shallow() => {
            unshallow(client, request, watch)?;
            if has_commit(&working_copy) {
                Ok(())
            } else {
                Err(missing)
            }
        }
        _ => Err(missing),
    }
}

/// The remote-tracking references of a working copy.
pub(super) struct Tracking {
    /// The remote's name in git's configuration; `None` if only the manifest has its URL.
    pub remote: Option<String>,
    /// The refspecs to fetch.
    refspecs: Vec<String>,
    /// The full name of the reference for the wanted branch, or for a tag that is not here yet; `None` for an
    /// existing tag and for a bare commit.
    pub reference: Option<String>,
}

impl Tracking {
    pub fn of(
        working_copy: &WorkingCopy,
        remote: Option<String>,
        resolved: &ResolvedReference,
    ) -> Self {
        let Some(name) = remote else {
            return Self {
                remote: None,
                refspecs: vec!["+refs/heads/*:refs/xp/remotes/*".to_owned()],
                reference: resolved
                    .branch()
                    .map(|branch| format!("refs/xp/remotes/{branch}")),
            };
        };
        let (mut refspecs, mut reference) = (working_copy.fetch_refspecs(&name), None);
        if let Some(branch) = resolved.branch() {
            // A single-branch clone gets only the wanted branch in addition.
            let full = format!("refs/heads/{branch}");
            let own = format!("refs/remotes/{name}/{branch}");
            let configured = working_copy.tracking_reference(&name, &full);
            if configured.is_none() {
                refspecs.push(format!("+{full}:{own}"));
            }
            reference = Some(configured.unwrap_or(own));
        }
        if let Some(tag) = &resolved.name
            && tag.starts_with("refs/tags/")
            && working_copy.reference(tag).is_none()
        {
            // An existing commit may have been tagged since; builds use `git describe`.
            refspecs.push(format!("{tag}:{tag}"));
            reference = Some(tag.clone());
        }
        Self {
            remote: Some(name),
            refspecs,
            reference,
        }
    }

    pub fn commit(&self, working_copy: &WorkingCopy) -> Option<CommitId> {
        working_copy.reference(self.reference.as_deref()?)
    }
}

fn clone_anew(
    client: &GitClient,
    request: &SyncRequest<'_>,
    watch: &OperationContext<'_>,
) -> Result<(), SyncError> {
    let staging = Staging::for_dir(request.staging_dir, request.dir)?;
    let checkout = CloneRequest {
        url: request.url,
        into: &staging.clone_dir(),
        checkout: request.resolved,
    };
    let cloned = clone(client, &checkout, watch).map_err(|error| missing_or(request, error))?;
    if !cloned.has_commit(request.resolved.commit) {
        return Err(missing(request, None));
    }
    drop(cloned);
    if watch.cancel.is_cancelled() {
        return Err(GitError::interrupted().into());
    }
    staging.move_into_place(request.dir)
}

/// Fetches the remote's branches, then the commit itself if it is still missing.
fn ensure_commit(
    client: &GitClient,
    working_copy: &WorkingCopy,
    tracking: &Tracking,
    request: &SyncRequest<'_>,
    watch: &OperationContext<'_>,
) -> Result<(), SyncError> {
    let resolved = request.resolved;
    let is_known =
        tracking.reference.is_none() || tracking.commit(working_copy) == Some(resolved.commit);
    if is_known && working_copy.has_commit(resolved.commit) {
        return Ok(());
    }
    let tags = if tracking.remote.is_some() {
        Tags::Follow
    } else {
        Tags::None
    };
    let all = Fetch {
        url: request.url,
        refspecs: &tracking.refspecs,
        tags,
        prune: false,
        depth: Depth::Missing,
    };
    match working_copy.fetch(client, &all, watch) {
        // A stale branch `a` blocks a new `a/b`.
        Err(error) if error.kind() == GitErrorKind::Local => {
            let prune = !error.is_locked();
            working_copy.fetch(client, &Fetch { prune, ..all }, watch)?;
        }
        result => result?,
    }
    if !working_copy.has_commit(resolved.commit) {
        working_copy
            .fetch_commit(client, request.url, resolved, watch)
            .map_err(|error| missing_or(request, error))?;
    }
    if working_copy.has_commit(resolved.commit) {
        Ok(())
    } else {
        Err(missing(request, None))
    }
}

fn missing(request: &SyncRequest<'_>, cause: Option<GitError>) -> SyncError {
    SyncError::MissingCommit {
        url: Box::new(request.url.clone()),
        commit: request.resolved.commit,
        cause: cause.map(Box::new),
    }
}

fn missing_or(request: &SyncRequest<'_>, error: GitError) -> SyncError {
    match error.kind() {
        GitErrorKind::MissingCommit => {
            // With a file URL, the error is the library's, not a server's.
            let is_served = request.url.scheme() != GitScheme::File;
            missing(request, is_served.then_some(error))
        }
        _ => error.into(),
    }
}
