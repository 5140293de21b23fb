//! Moving a clean working copy to another commit.

use git2::build::CheckoutBuilder;
use git2::{CheckoutNotificationType, ErrorCode};

use super::progress::Watch;
use super::working_copy::oid;
use super::{GitError, WorkingCopy};
use crate::source::CommitId;

/// Where to move, and what `HEAD` is afterwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Move {
    /// The branch that is checked out moves along.
    Branch {
        /// Its short name.
        name: String,
        /// The commit that it must stand at now: another process may have moved it.
        from: CommitId,
    },
    /// A new branch, which follows a remote's branch of the same name.
    NewBranch {
        /// Its short name.
        name: String,
        /// The remote's name in the configuration.
        remote: String,
    },
    /// No branch.
    Detached,
}

/// Why nothing was moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotMoved {
    /// Files that are not tracked, or changed just now, would have been overwritten; the first few of them.
    InTheWay(Vec<String>),
    /// Another git process works there, or left its lock.
    Locked,
}

impl WorkingCopy {
    /// Checks a commit out, and says where it went; nothing that is not committed is overwritten.
    ///
    /// The move is noted in `refs/xp/moving` first, so that one broken off halfway is known again
    /// (see [`WorkingCopy::is_halfway_to`]). With `finish`, such a one is completed.
    ///
    /// # Errors
    ///
    /// A file or reference cannot be written.
    pub fn move_head(
        &self,
        to: CommitId,
        how: &Move,
        finish: bool,
        watch: &Watch<'_>,
    ) -> Result<Result<(), NotMoved>, GitError> {
        // libgit2 takes the index's lock only after it has written the files.
        if self.repository.path().join("index.lock").exists() {
            return Ok(Err(NotMoved::Locked));
        }
        self.set_own_reference("moving", to)?;
        let mut in_the_way = Vec::new();
        let checked_out = {
            let mut options = CheckoutBuilder::new();
            if finish {
                options.force();
            } else {
                options.safe().overwrite_ignored(false);
            }
            options.progress(|_, done, total| watch.checkout(done, total));
            options.notify_on(CheckoutNotificationType::CONFLICT);
            options.notify(|_, path, _, _, _| {
                if let Some(path) = path.filter(|_| in_the_way.len() < 5) {
                    in_the_way.push(path.display().to_string());
                }
                true
            });
            oid(to)
                .and_then(|id| self.repository.find_object(id, None))
                .and_then(|commit| self.repository.checkout_tree(&commit, Some(&mut options)))
        };
        match checked_out {
            Ok(()) => {}
            // libgit2 looks for conflicts before it writes the first file.
            Err(cause) if cause.code() == ErrorCode::Conflict => {
                self.remove_own_reference("moving");
                return Ok(Err(NotMoved::InTheWay(in_the_way)));
            }
            // Somebody took the lock meanwhile: the files are written, and the next run finishes the move.
            Err(cause) if cause.code() == ErrorCode::Locked => return Ok(Err(NotMoved::Locked)),
            Err(cause) => return Err(self.failed(&format!("check {to} out"), cause)),
        }
        self.point_head(to, how)
            .map_err(|cause| self.failed("move HEAD", cause))?;
        if *how == Move::Detached {
            self.set_own_reference("head", to)?;
        } else {
            self.remove_own_reference("head");
        }
        self.remove_own_reference("moving");
        Ok(Ok(()))
    }

    fn point_head(&self, to: CommitId, how: &Move) -> Result<(), git2::Error> {
        let to = oid(to)?;
        match how {
            Move::Branch { name, from } => {
                let name = format!("refs/heads/{name}");
                self.repository.reference_matching(
                    &name,
                    to,
                    true,
                    oid(*from)?,
                    "xp: follow the remote",
                )?;
                Ok(())
            }
            Move::NewBranch { name, remote } => {
                let full = format!("refs/heads/{name}");
                self.repository
                    .reference(&full, to, false, "xp: follow the remote")?;
                let mut config = self
                    .repository
                    .config()?
                    .open_level(git2::ConfigLevel::Local)?;
                config.set_str(&format!("branch.{name}.remote"), remote)?;
                config.set_str(&format!("branch.{name}.merge"), &full)?;
                self.repository.set_head(&full)
            }
            Move::Detached => self.repository.set_head_detached(to),
        }
    }

    /// Tells whether a branch follows a remote's branch: by its configuration, or without one by its name.
    pub fn branch_follows(&self, branch: &str, remote: Option<&str>, remote_branch: &str) -> bool {
        let full = format!("refs/heads/{branch}");
        let text = |buffer: git2::Buf| buffer.as_str().ok().map(str::to_owned);
        let upstream_remote = self
            .repository
            .branch_upstream_remote(&full)
            .ok()
            .and_then(text);
        let upstream_branch = self
            .repository
            .branch_upstream_merge(&full)
            .ok()
            .and_then(text);
        match (upstream_remote, upstream_branch, remote) {
            (Some(its_remote), Some(its_branch), Some(remote)) if its_remote == remote => {
                its_branch.strip_prefix("refs/heads/") == Some(remote_branch)
            }
            // It follows another remote, which is a person's decision.
            (Some(_), Some(_), _) => false,
            _ => branch == remote_branch,
        }
    }

    /// Tells whether a local branch exists.
    pub fn has_branch(&self, branch: &str) -> bool {
        self.repository
            .find_branch(branch, git2::BranchType::Local)
            .is_ok()
    }
}
