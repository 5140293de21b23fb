//! Working copies: cloned when they are needed, fetched when the remote moved, and moved along only
//! where nothing of the user's can be lost.
//!
//! A working copy is the user's, and holds the only object store. So after [`sync`] has returned
//! `Ok`, the commit is in the object store, whatever became of the files: builds use an export.
//!
//! What is moved along: a branch that follows the wanted one, and a `HEAD` that xp itself detached
//! (`refs/xp/head` remembers where). What stops it: changes, staged or not; untracked or ignored
//! files in the way; commits that the remote does not have; another branch; a `HEAD` that the user
//! detached; a merge, rebase or the like under way; files that cannot be written. Where the remote's history was rewritten, a
//! branch without commits of its own (it stands where the remote's branch once stood) follows,
//! and `refs/xp/before-rewrite/<branch>` keeps the old commits; any other branch stays.
//!
//! A locked commit is checked out without a branch ([`check_out_locked`]), under the same rule.

mod locked;
mod staging;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::client::git::{
    CloneRequest, Depth, Fetch, GitClient, GitError, GitErrorKind, Head, Move, NotMoved, Opened,
    OperationUnderWay, Tags, Watch, WorkingCopy, clone,
};
use crate::error::{Diagnostic, Exit, chain};
use crate::source::{CommitId, GitUrl, ResolvedReference};
pub use locked::check_out_locked;
use staging::Staging;

/// A working copy, and what it should have.
#[derive(Debug, Clone, Copy)]
pub struct SyncRequest<'a> {
    /// The working copy's folder; it need not exist.
    pub dir: &'a Path,
    /// A folder of xp's own for clones that are not complete yet.
    pub staging_dir: &'a Path,
    /// The manifest's remote.
    pub url: &'a GitUrl,
    /// What the manifest's reference stands for in the remote.
    pub resolved: &'a ResolvedReference,
    /// What is built of it: its commit, or an earlier one.
    pub commit: CommitId,
    /// Whether the files may be moved along.
    pub moves: bool,
}

/// What was done to a working copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SyncOutcome {
    /// It was not there.
    Cloned,
    /// It stands at the commit already, or at a newer one of the remote's.
    UpToDate,
    /// It moved along with the remote.
    FastForwarded {
        /// The commit before.
        from: CommitId,
        /// The commit now.
        to: CommitId,
    },
    /// The remote's history was rewritten, and the branch had no commits of its own.
    FollowedRewrite {
        /// The commit before, kept in `refs/xp/before-rewrite/`.
        from: CommitId,
        /// The commit now.
        to: CommitId,
    },
    /// The commit is in the object store, but the files stay as they are.
    LeftAlone(Reason),
}

/// Why the files of a working copy were left as they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// Tracked files have changes; the first few of them.
    Modified(Vec<String>),
    /// The index has changes; the first few of them.
    Staged(Vec<String>),
    /// Untracked or ignored files would be overwritten; the first few of them.
    InTheWay(Vec<String>),
    /// The branch has this many commits that the remote does not have.
    Unpushed(usize),
    /// The branch has commits of its own, and so has the remote.
    Diverged {
        /// Commits of its own.
        ahead: usize,
        /// Commits of the remote's.
        behind: usize,
    },
    /// Another branch is checked out.
    OtherBranch {
        /// The branch that is checked out.
        current: String,
    },
    /// The branch follows a remote at another URL.
    OtherRemote,
    /// The user detached `HEAD`.
    Detached,
    /// A merge, rebase or the like is under way.
    UnderWay(OperationUnderWay),
    /// Another git process works there, or left `.git/index.lock`.
    Locked,
    /// Another service is built there by `--local`.
    BuiltInPlace,
    /// It could not be looked at, or a file could not be written.
    Failed(String),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let commits = |count: &usize| {
            if *count == 1 {
                "1 commit".to_owned()
            } else {
                format!("{count} commits")
            }
        };
        match self {
            Self::Modified(files) => write!(f, "modified files: {}", files.join(", ")),
            Self::Staged(files) => write!(f, "staged changes: {}", files.join(", ")),
            Self::InTheWay(files) => write!(f, "untracked files in the way: {}", files.join(", ")),
            Self::Unpushed(count) => write!(f, "{} not pushed", commits(count)),
            Self::Diverged { ahead, behind } => {
                write!(
                    f,
                    "{} of its own, {} behind",
                    commits(ahead),
                    commits(behind)
                )
            }
            Self::OtherBranch { current } => write!(f, "branch `{current}` is checked out"),
            Self::OtherRemote => f.write_str("its branch follows a remote at another URL"),
            Self::Detached => f.write_str("a detached HEAD"),
            Self::UnderWay(operation) => write!(f, "a {} is under way", operation.name()),
            Self::BuiltInPlace => f.write_str("another service is built there in place"),
            Self::Failed(why) => f.write_str(why),
            Self::Locked => f.write_str(
                "`.git/index.lock` exists: another git process works there, or was killed",
            ),
        }
    }
}

/// A working copy could not get its commit.
#[derive(Debug, Error)]
pub enum SyncError {
    /// There is something else at its place.
    #[error("{} is not a git repository, and not empty", dir.display())]
    OtherFiles {
        /// The folder.
        dir: PathBuf,
    },
    /// There is a file at its place.
    #[error("{} is not a folder", dir.display())]
    NoFolder {
        /// The file.
        dir: PathBuf,
    },
    /// It is a repository without a commit.
    #[error("the git repository {} has no commit checked out", dir.display())]
    NoCommits {
        /// The folder.
        dir: PathBuf,
    },
    /// The remote does not have what it was resolved to a moment ago.
    #[error("{url} does not give out the commit {commit}")]
    MissingCommit {
        /// The remote.
        url: Box<GitUrl>,
        /// The commit.
        commit: CommitId,
        /// What the server said, where it said something.
        #[source]
        cause: Option<Box<GitError>>,
    },
    /// A folder cannot be made or moved.
    #[error("cannot {what} {}", path.display())]
    Folder {
        /// What was to be done.
        what: &'static str,
        /// The folder.
        path: PathBuf,
        /// Why not.
        #[source]
        cause: std::io::Error,
    },
    /// Git failed.
    #[error(transparent)]
    Git(#[from] GitError),
}

impl SyncError {
    /// Returns what a person can do about it.
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::OtherFiles { .. } => Some("move it away, or give the service another `dir`"),
            Self::NoFolder { .. } | Self::Folder { .. } => None,
            Self::NoCommits { .. } => Some(
                "it may be left from an interrupted `git clone`: if nothing in it is needed, remove it, and xp clones it anew",
            ),
            Self::MissingCommit { .. } => Some(
                "it may have been removed by a forced push: run xp again, or choose another reference; a plain git server gives out what no reference leads to only with `uploadpack.allowAnySHA1InWant`",
            ),
            Self::Git(error) => error.hint(),
        }
    }
}

impl Diagnostic for SyncError {
    fn exit(&self) -> Exit {
        match self {
            Self::Git(error) => error.exit(),
            _ => Exit::Outside,
        }
    }

    fn hints(&self) -> Vec<String> {
        self.hint().map(str::to_owned).into_iter().collect()
    }
}

/// Makes sure that a commit is in the working copy's object store, and moves the files along where
/// that is safe. Blocks; needs no connection where the commit is there and the remote's branch known.
///
/// Used by `xp sync` and before a build alike: the latter only cares that it returns `Ok`.
///
/// # Errors
///
/// The place is taken by something else, the remote fails, or the object store cannot be written.
/// Nothing of the user's has been touched then.
pub fn sync(
    client: &GitClient,
    request: &SyncRequest<'_>,
    watch: &Watch<'_>,
) -> Result<SyncOutcome, SyncError> {
    let Some((working_copy, tracking, before)) = bring(client, request, watch)? else {
        return Ok(SyncOutcome::Cloned);
    };
    if !request.moves {
        return Ok(SyncOutcome::LeftAlone(Reason::BuiltInPlace));
    }
    // The commit is in the object store, which is all that a build needs: what fails now, such as
    // writing a file of another user, concerns the working copy alone.
    let moved = finish_interrupted_move(&working_copy, &tracking, request.resolved, watch)
        .and_then(|()| advance(&working_copy, &tracking, before, request.resolved, watch));
    Ok(moved.unwrap_or_else(|error| {
        let why = chain(&error).replace("\n  cause", "");
        SyncOutcome::LeftAlone(Reason::Failed(why))
    }))
}

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
    Ok(bring(client, request, watch)?.is_none())
}

/// Brings the commits into the object store; returns nothing where there was none, and it was
/// cloned, files and all.
fn bring(
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

/// Makes sure that a commit is in the object store, and leaves every file as it is; where there is no
/// working copy, it is cloned. Blocks.
///
/// # Errors
///
/// As for [`sync`].
pub fn fetch_missing(
    client: &GitClient,
    request: &SyncRequest<'_>,
    watch: &Watch<'_>,
) -> Result<(), SyncError> {
    let dir = request.dir.to_owned();
    let working_copy = match WorkingCopy::open(request.dir)? {
        Opened::Nothing => {
            staging::remove_stale(request.staging_dir);
            return clone_anew(client, request, watch).map(drop);
        }
        Opened::OtherFiles => return Err(SyncError::OtherFiles { dir }),
        Opened::NoFolder => return Err(SyncError::NoFolder { dir }),
        Opened::WorkingCopy(working_copy) => working_copy,
    };
    if working_copy.has_commit(request.resolved.commit) {
        return Ok(());
    }
    let remote = working_copy.remote_of(client, request.url);
    let tracking = Tracking::of(&working_copy, remote, request.resolved);
    bring_commit(client, &working_copy, &tracking, request, watch)
}

/// Where the remote's branches are kept in a working copy.
struct Tracking {
    /// The remote's name in the configuration; none where only the manifest knows its URL.
    remote: Option<String>,
    /// What to fetch.
    refspecs: Vec<String>,
    /// The full name of what stands for the wanted branch or for a tag that is not here yet; none
    /// for a tag that is here and for a bare commit.
    reference: Option<String>,
}

impl Tracking {
    fn of(
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

    fn commit(&self, working_copy: &WorkingCopy) -> Option<CommitId> {
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
        GitErrorKind::MissingCommit => missing(request, Some(error)),
        _ => error.into(),
    }
}

/// Completes a move of xp's that was killed while it wrote files, where nothing else was changed since.
fn finish_interrupted_move(
    working_copy: &WorkingCopy,
    tracking: &Tracking,
    resolved: &ResolvedReference,
    watch: &Watch<'_>,
) -> Result<(), GitError> {
    let Some(to) = working_copy.own_reference("moving") else {
        return Ok(());
    };
    if !working_copy.has_commit(to)
        || working_copy.operation_under_way().is_some()
        || !working_copy.is_halfway_to(to)?
    {
        return Ok(());
    }
    if let Ok((_, how)) = how_to_move(working_copy, tracking, resolved, working_copy.head()?) {
        // A lock that the killed run left is reported by what follows.
        let _ = working_copy.move_head(to, &how, true, watch)?;
    }
    Ok(())
}

/// Moves the files to the commit, unless there is a reason not to.
fn advance(
    working_copy: &WorkingCopy,
    tracking: &Tracking,
    before: Option<CommitId>,
    resolved: &ResolvedReference,
    watch: &Watch<'_>,
) -> Result<SyncOutcome, GitError> {
    let to = resolved.commit;
    if let Some(operation) = working_copy.operation_under_way() {
        return Ok(SyncOutcome::LeftAlone(Reason::UnderWay(operation)));
    }
    let head = working_copy.head()?;
    if matches!(&head, Head::Branch { commit, .. } | Head::Detached(commit) if *commit == to) {
        return Ok(SyncOutcome::UpToDate);
    }
    let (from, how) = match how_to_move(working_copy, tracking, resolved, head) {
        Ok(found) => found,
        Err(reason) => return Ok(SyncOutcome::LeftAlone(reason)),
    };
    let mut outcome = SyncOutcome::FastForwarded { from, to };
    if let Move::Branch { name, .. } = &how
        && !working_copy.is_ancestor(from, to)?
    {
        match relation(working_copy, tracking, before, from, to)? {
            Relation::AtNewer => return Ok(SyncOutcome::UpToDate),
            Relation::OwnCommits(reason) => return Ok(SyncOutcome::LeftAlone(reason)),
            Relation::Rewritten => {
                working_copy.set_own_reference(&format!("before-rewrite/{name}"), from)?;
                outcome = SyncOutcome::FollowedRewrite { from, to };
            }
        }
    }
    let changes = working_copy.changes()?;
    if !changes.staged.is_empty() {
        return Ok(SyncOutcome::LeftAlone(Reason::Staged(changes.staged)));
    }
    if !changes.modified.is_empty() {
        return Ok(SyncOutcome::LeftAlone(Reason::Modified(changes.modified)));
    }
    Ok(match working_copy.move_head(to, &how, false, watch)? {
        Ok(()) => outcome,
        Err(NotMoved::InTheWay(files)) => SyncOutcome::LeftAlone(Reason::InTheWay(files)),
        Err(NotMoved::Locked) => SyncOutcome::LeftAlone(Reason::Locked),
    })
}

/// Tells from where and how `HEAD` would move, or why what is checked out is the user's own choice.
fn how_to_move(
    working_copy: &WorkingCopy,
    tracking: &Tracking,
    resolved: &ResolvedReference,
    head: Head,
) -> Result<(CommitId, Move), Reason> {
    match (head, resolved.branch(), &tracking.remote) {
        (Head::Branch { .. }, Some(_), None) => Err(Reason::OtherRemote),
        (Head::Branch { name, commit }, Some(wanted), Some(remote))
            if working_copy.branch_follows(&name, Some(remote), wanted) =>
        {
            Ok((commit, Move::Branch { name, from: commit }))
        }
        (Head::Branch { name, .. }, ..) => Err(Reason::OtherBranch { current: name }),
        (Head::Detached(commit), wanted, remote)
            if working_copy.own_reference("head") == Some(commit) =>
        {
            Ok((
                commit,
                match (wanted, remote) {
                    (Some(wanted), Some(remote)) if !working_copy.has_branch(wanted) => {
                        Move::NewBranch {
                            name: wanted.to_owned(),
                            remote: remote.clone(),
                        }
                    }
                    (Some(wanted), Some(remote)) => {
                        back_to_branch(working_copy, wanted, remote, resolved.commit)
                            .unwrap_or(Move::Detached)
                    }
                    _ => Move::Detached,
                },
            ))
        }
        (Head::Detached(_) | Head::Unborn, ..) => Err(Reason::Detached),
    }
}

/// Returns how `HEAD` goes back to the branch that it was taken off, where that branch follows the
/// wanted one and has no commits of its own.
fn back_to_branch(
    working_copy: &WorkingCopy,
    branch: &str,
    remote: &str,
    to: CommitId,
) -> Option<Move> {
    let from = working_copy.reference(&format!("refs/heads/{branch}"))?;
    let is_free = working_copy.branch_follows(branch, Some(remote), branch)
        && working_copy.is_ancestor(from, to).unwrap_or(false);
    is_free.then(|| Move::Return {
        name: branch.to_owned(),
        from,
    })
}

/// How a branch stands to a commit that it cannot be fast-forwarded to.
enum Relation {
    /// It is at a later commit of the remote's: somebody fetched since the reference was resolved.
    AtNewer,
    /// It stands where the remote's branch once stood, and that is in the remote's history no longer.
    Rewritten,
    /// It has commits that the remote never had.
    OwnCommits(Reason),
}

fn relation(
    working_copy: &WorkingCopy,
    tracking: &Tracking,
    before: Option<CommitId>,
    from: CommitId,
    to: CommitId,
) -> Result<Relation, GitError> {
    let now = tracking.commit(working_copy);
    if let Some(now) = now
        && working_copy.is_ancestor(from, now)?
    {
        return Ok(Relation::AtNewer);
    }
    let once_there = before == Some(from)
        || tracking
            .reference
            .as_ref()
            .is_some_and(|name| working_copy.reference_once_was(name, from));
    if now == Some(to) && once_there {
        return Ok(Relation::Rewritten);
    }
    let (ahead, behind) = working_copy.ahead_and_behind(from, to)?;
    Ok(Relation::OwnCommits(if behind == 0 {
        Reason::Unpushed(ahead)
    } else {
        Reason::Diverged { ahead, behind }
    }))
}
