//! The outcome of a sync, and its errors.

use std::fmt;
use std::path::PathBuf;

use thiserror::Error;

use crate::base::error::{Diagnostic, Exit};
use crate::base::plural::count_of;
use crate::client::git::{GitError, OperationInProgress};
use crate::model::manifest::ServiceName;
use crate::model::source::{CommitId, GitUrl};

/// The outcome of a sync.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SyncOutcome {
    /// The working copy was cloned.
    Cloned,
    /// It is already at the commit, or at a newer one of the remote.
    UpToDate,
    /// It was updated to the remote's commit.
    FastForwarded {
        /// The commit before.
        from: CommitId,
        /// The commit now.
        to: CommitId,
    },
    /// The remote's history was rewritten, and the branch, which had no local commits, followed.
    FollowedRewrite {
        /// The commit before, kept in `refs/xp/before-rewrite/`.
        from: CommitId,
        /// The commit now.
        to: CommitId,
    },
    /// The commit is in the object store, but the files were not updated.
    NotUpdated(NotUpdatedReason),
}

/// Why the files of a working copy were not updated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotUpdatedReason {
    /// Tracked files were modified; the first few of them.
    Modified(Vec<String>),
    /// There are staged changes; the first few of them.
    Staged(Vec<String>),
    /// Untracked or ignored files would be overwritten; the first few of them.
    InTheWay(Vec<String>),
    /// The number of unpushed commits.
    Unpushed(usize),
    /// The branch and the remote have diverged.
    Diverged {
        /// Commits that only the branch has.
        ahead: usize,
        /// Commits that only the remote has.
        behind: usize,
    },
    /// Another branch is checked out.
    OtherBranch {
        /// The branch that is checked out.
        current: String,
    },
    /// The branch tracks a remote with another URL.
    OtherRemote,
    /// The user detached `HEAD`.
    Detached,
    /// A merge, rebase or similar is in progress.
    InProgress(OperationInProgress),
    /// Another git process is running, or left `.git/index.lock`.
    Locked,
    /// Another service is built in it with `--local`.
    BuiltInPlace,
    /// No locked commit has the locked files of both of these services.
    LockedApart([(ServiceName, CommitId); 2]),
    /// It could not be read, or a file could not be written.
    Failed(String),
}

impl fmt::Display for NotUpdatedReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let commits = |count: &usize| count_of(*count, "commit");
        match self {
            Self::Modified(files) => write!(f, "modified files: {}", files.join(", ")),
            Self::Staged(files) => write!(f, "staged changes: {}", files.join(", ")),
            Self::InTheWay(files) => write!(f, "untracked files in the way: {}", files.join(", ")),
            Self::Unpushed(count) => write!(f, "{} not pushed", commits(count)),
            Self::Diverged { ahead, behind } => {
                write!(
                    f,
                    "diverged: {} ahead, {} behind",
                    commits(ahead),
                    commits(behind)
                )
            }
            Self::OtherBranch { current } => write!(f, "branch `{current}` is checked out"),
            Self::OtherRemote => f.write_str("its origin is a different URL"),
            Self::Detached => f.write_str("HEAD is detached"),
            Self::InProgress(operation) => write!(f, "a {} is in progress", operation.name()),
            Self::BuiltInPlace => f.write_str("another service is built in place there"),
            Self::LockedApart([(one, at_one), (other, at_other)]) => write!(
                f,
                "no locked commit has the locked files of both `{one}` ({}) and `{other}` ({})",
                at_one.short(),
                at_other.short()
            ),
            Self::Failed(why) => f.write_str(why),
            Self::Locked => f.write_str(
                "`.git/index.lock` exists: another git process is running, or was killed",
            ),
        }
    }
}

/// Why a commit could not be fetched into a working copy.
#[derive(Debug, Error)]
pub enum SyncError {
    /// The folder contains something else.
    #[error("{} is not a git repository and is not empty", dir.display())]
    OtherFiles { dir: PathBuf },
    /// The path is a file.
    #[error("{} is not a folder", dir.display())]
    NotAFolder { dir: PathBuf },
    /// The repository has no commits.
    #[error("the git repository {} has no commit checked out", dir.display())]
    NoCommits { dir: PathBuf },
    /// The remote does not serve the commit that it just resolved to.
    #[error("{url} does not serve the commit {commit}")]
    MissingCommit {
        url: Box<GitUrl>,
        commit: CommitId,
        /// The server's error, if any.
        #[source]
        cause: Option<Box<GitError>>,
    },
    /// A folder cannot be created or moved.
    #[error("cannot {what} {}", path.display())]
    Folder {
        /// The attempted action.
        what: &'static str,
        path: PathBuf,
        #[source]
        cause: std::io::Error,
    },
    /// Git failed.
    #[error(transparent)]
    Git(#[from] GitError),
}

impl SyncError {
    /// Returns the hint for the user.
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::OtherFiles { .. } | Self::NotAFolder { .. } => {
                Some("move it elsewhere, or set another `dir` for the service")
            }
            Self::Folder { .. } => {
                Some("check that you can write there and that the disk is not full")
            }
            Self::NoCommits { .. } => Some(
                "it may be left over from an interrupted `git clone`: if you do not need its contents, delete it and run xp again",
            ),
            Self::MissingCommit { .. } => Some(
                "it may have been removed by a force push: run xp again, or choose another reference; git servers serve unreachable commits only with `uploadpack.allowAnySHA1InWant`",
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
