//! A commit in the object store of a working copy: cloned, fetched, or there already.

use super::at_work::AtWork;
use super::staging::{self, Staging};
use super::{SyncError, SyncRequest};
use crate::client::git::{
    CloneRequest, Depth, Fetch, GitClient, GitError, GitErrorKind, Head, Opened, Tags, Watch,
    WorkingCopy, clone,
};
use crate::source::{CommitId, GitScheme, ResolvedReference};

/// Brings a commit into the object store as [`sync`] does, and moves no file of a working copy that
/// is there. Returns whether it was cloned.
///
/// # Errors
///
/// As for [`sync`].
pub fn fetch_objects(
    client: &GitClient,
    request: &SyncRequest<'_>,
    watch: &Watch<'_>,
) -> Result<bool, SyncError> {
    let _at_work = AtWork::begin(request.staging_dir, request.dir);
    Ok(bring(client, request, watch)?.is_none())
}

/// Brings the commits into the object store; returns nothing where there was none, and it was
/// cloned, files and all.
pub(super) fn bring(
    client: &GitClient,
    request: &SyncRequest<'_>,
    watch: &Watch<'_>,
) -> Result<Option<(WorkingCopy, Tracking, Option<CommitId>)>, SyncError> {
    staging::remove_stale(request.staging_dir);
    let dir = request.dir.to_owned();
    let working_copy = match WorkingCopy::open(request.dir)? {
        Opened::Nothing => {
            clone_anew(client, request, watch)?;
            return Ok(None);
        }
        Opened::OtherFiles => return Err(SyncError::OtherFiles { dir }),
        Opened::NoFolder => return Err(SyncError::NoFolder { dir }),
        Opened::WorkingCopy(working_copy) => working_copy,
    };
    if working_copy.head()? == Head::Unborn {
        return Err(SyncError::NoCommits { dir });
    }
    let remote = working_copy.remote_of(client, request.url);
    let tracking = Tracking::of(&working_copy, remote, request.resolved);
    let before = tracking.commit(&working_copy);
    bring_commit(client, &working_copy, &tracking, request, watch)?;
    bring_earlier_commit(client, &working_copy, &tracking, request, watch)?;
    Ok(Some((working_copy, tracking, before)))
}

/// Fetches what a shallow clone left out of the history of working copies, which is the user's wish
/// until a service's commit turns out to be there.
///
/// # Errors
///
/// As for [`sync`]; where the remote is on this machine, with the command that does it.
pub fn fetch_whole_history(
    client: &GitClient,
    request: &SyncRequest<'_>,
    watch: &Watch<'_>,
) -> Result<(), SyncError> {
    let _at_work = AtWork::begin(request.staging_dir, request.dir);
    let Opened::WorkingCopy(working_copy) = WorkingCopy::open(request.dir)? else {
        let dir = request.dir.to_owned();
        return Err(SyncError::OtherFiles { dir });
    };
    let remote = working_copy.remote_of(client, request.url);
    let tracking = Tracking::of(&working_copy, remote, request.resolved);
    Ok(working_copy.fetch_whole_history(client, request.url, &tracking.refspecs, watch)?)
}

/// Fetches the commit that is built where it is not in the history that is here.
fn bring_earlier_commit(
    client: &GitClient,
    working_copy: &WorkingCopy,
    tracking: &Tracking,
    request: &SyncRequest<'_>,
    watch: &Watch<'_>,
) -> Result<(), SyncError> {
    if working_copy.has_commit(request.commit) {
        return Ok(());
    }
    if working_copy.is_shallow() {
        working_copy.fetch_whole_history(client, request.url, &tracking.refspecs, watch)?;
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

/// Makes sure that a commit is in the object store, as [`fetch_objects`] does; asks nobody where it is
/// there already.
///
/// # Errors
///
/// As for [`sync`].
pub fn fetch_missing(
    client: &GitClient,
    request: &SyncRequest<'_>,
    watch: &Watch<'_>,
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
    // A plain git server gives no commit out by itself, but does give out a history that was cut off.
    match WorkingCopy::open(request.dir)? {
        Opened::WorkingCopy(working_copy) if working_copy.is_shallow() => {
            fetch_whole_history(client, request, watch)?;
            if has_commit(&working_copy) {
                Ok(())
            } else {
                Err(missing)
            }
        }
        _ => Err(missing),
    }
}

/// Where the remote's branches are kept in a working copy.
pub(super) struct Tracking {
    /// The remote's name in the configuration; none where only the manifest knows its URL.
    pub remote: Option<String>,
    /// What to fetch.
    refspecs: Vec<String>,
    /// The full name of what stands for the wanted branch or for a tag that is not here yet; none
    /// for a tag that is here and for a bare commit.
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
            // A clone of a single branch stays one, but for the branch that is wanted.
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
            // A commit that is here may have got it since; builds ask `git describe`.
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
    watch: &Watch<'_>,
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

/// Fetches what is missing: the remote's branches, else the commit itself.
fn bring_commit(
    client: &GitClient,
    working_copy: &WorkingCopy,
    tracking: &Tracking,
    request: &SyncRequest<'_>,
    watch: &Watch<'_>,
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
        // A branch `a` that is gone stands in the way of a new `a/b`.
        Err(error) if error.kind() == GitErrorKind::Local => {
            working_copy.fetch(client, &Fetch { prune: true, ..all }, watch)?;
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
            // Behind a file URL there is no server that says anything: the library would.
            let is_served = request.url.scheme() != GitScheme::File;
            missing(request, is_served.then_some(error))
        }
        _ => error.into(),
    }
}
