//! What became of a working copy, and why not more.

use std::fmt;
use std::path::PathBuf;

use thiserror::Error;

use crate::client::git::{GitError, OperationUnderWay};
use crate::error::{Diagnostic, Exit};
use crate::manifest::ServiceName;
use crate::source::{CommitId, GitUrl};

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
    /// No locked commit has the locked files of both of these services.
    LockedApart([(ServiceName, CommitId); 2]),
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
            Self::LockedApart([(one, at_one), (other, at_other)]) => write!(
                f,
                "no locked commit has the locked files of both `{one}` ({}) and `{other}` ({})",
                at_one.short(),
                at_other.short()
            ),
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
            Self::OtherFiles { .. } | Self::NoFolder { .. } => {
                Some("move it away, or give the service another `dir`")
            }
            Self::Folder { .. } => {
                Some("make sure that you may write there, and that there is space")
            }
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
