//! Moves a clean working copy to another commit.

use std::path::Path;

use git2::build::CheckoutBuilder;
use git2::{CheckoutNotificationType, Commit, ErrorCode, FileMode, Tree};
use walkdir::WalkDir;

use super::index_file::make_full;
use super::working_copy::{DETACHED_AT, MOVING, MOVING_FROM, oid};
use crate::client::git::progress::OperationContext;
use crate::client::git::{GitError, Head, WorkingCopy};
use crate::model::source::CommitId;

/// The maximum number of conflicting files to report.
const NAMED_FILES: usize = 5;

/// How `HEAD` moves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Move {
    /// The checked-out branch moves with it.
    Branch {
        /// Its short name.
        name: String,
        /// The commit that it must still point to: another process may have moved it.
        from: CommitId,
    },
    /// A new branch that tracks the remote's branch of the same name.
    NewBranch {
        /// Its short name.
        name: String,
        /// The remote's name in the configuration.
        remote: String,
    },
    /// Back from a detached `HEAD` to a branch, which moves to the commit.
    ReturnToBranch {
        /// Its short name.
        name: String,
        /// The commit that it must still point to.
        from: CommitId,
    },
    /// `HEAD` is detached.
    Detached,
}

/// Why the working copy was not moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotMoved {
    /// Untracked or just modified files would be overwritten; the first few of them.
    InTheWay(Vec<String>),
    /// Another git process is running there, or left its lock behind.
    Locked,
}

impl WorkingCopy {
    /// Checks out a commit, without overwriting uncommitted changes.
    ///
    /// The move is recorded in references first, so that an interrupted move can be recognized (see
    /// [`WorkingCopy::interrupted_move`]). With `finish`, an interrupted move is completed.
    ///
    /// # Errors
    ///
    /// A file or reference cannot be written. The files written until then are rolled back, if possible.
    pub fn move_head(
        &self,
        to: CommitId,
        how: &Move,
        finish: bool,
        watch: &OperationContext<'_>,
    ) -> Result<Result<(), NotMoved>, GitError> {
        // libgit2 locks the index only after writing the files.
        if self.repository.path().join("index.lock").exists() {
            return Ok(Err(NotMoved::Locked));
        }
        let wanted = oid(to)
            .and_then(|id| self.repository.find_commit(id))
            .map_err(|cause| self.failed(&format!("find commit {to}"), cause))?;
        match make_full(&self.repository) {
            Err(cause) if cause.code() == ErrorCode::Locked => return Ok(Err(NotMoved::Locked)),
            result => result.map_err(|cause| self.failed("read the index", cause))?,
        }
        let partial = self
            .partial_move(&wanted)
            .map_err(|cause| self.failed("read the index", cause))?;
        let mut conflicts = match &partial {
            Some(partial) => partial.conflicts(&self.dir),
            None => Vec::new(),
        };
        conflicts.extend(
            self.conflicting_paths(&wanted)
                .map_err(|cause| self.failed("check for conflicting files", cause))?,
        );
        if !conflicts.is_empty() {
            return Ok(Err(NotMoved::InTheWay(conflicts)));
        }
        if let Some(from) = self.head()?.commit() {
            self.set_xp_reference(MOVING_FROM, from)?;
        }
        self.set_xp_reference(MOVING, to)?;
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
                if let Some(path) = path.filter(|_| conflicts.len() < NAMED_FILES) {
                    conflicts.push(path.display().to_string());
                }
                true
            });
            match &partial {
                None => self
                    .repository
                    .checkout_tree(wanted.as_object(), Some(&mut options)),
                Some(partial) => {
                    partial.check_out(&self.repository, wanted.as_object(), &mut options)
                }
            }
        };
        match checked_out {
            Ok(()) => {}
            // libgit2 checks for conflicts before it writes the first file.
            Err(cause) if cause.code() == ErrorCode::Conflict => {
                self.forget_move();
                return Ok(Err(NotMoved::InTheWay(conflicts)));
            }
            // Another process locked the index in the meantime. The files are written, and the next run finishes the
            // move.
            Err(cause) if cause.code() == ErrorCode::Locked => return Ok(Err(NotMoved::Locked)),
            Err(cause) => {
                if !finish && self.roll_back(&wanted).is_ok() {
                    self.forget_move();
                }
                return Err(self.failed(&format!("check out {to}"), cause));
            }
        }
        self.point_head(to, how)
            .map_err(|cause| self.failed("move HEAD", cause))?;
        self.record_head(&self.head()?)?;
        self.forget_move();
        Ok(Ok(()))
    }

    /// Returns the commit of a move that was interrupted and can be finished without losing anything.
    ///
    /// A move whose `HEAD` is elsewhere by now is forgotten: the files and commits since are the user's.
    ///
    /// # Errors
    ///
    /// `HEAD`, the index or a file cannot be read.
    pub fn interrupted_move(&self) -> Result<Option<CommitId>, GitError> {
        let Some(to) = self.xp_reference_commit(MOVING) else {
            return Ok(None);
        };
        let (head, from) = (self.head()?, self.xp_reference_commit(MOVING_FROM));
        if head.commit() == Some(to) && from.is_some() {
            self.record_head(&head)?;
        }
        if head.commit() == Some(to) || head.commit() != from {
            self.forget_move();
            return Ok(None);
        }
        let can_finish = self.has_commit(to)
            && self.operation_in_progress().is_none()
            && self.is_interrupted_move_to(to)?;
        Ok(can_finish.then_some(to))
    }

    /// Records that xp detached `HEAD`, if it did.
    fn record_head(&self, head: &Head) -> Result<(), GitError> {
        match head {
            Head::Detached(commit) => self.set_xp_reference(DETACHED_AT, *commit),
            Head::Branch { .. } | Head::Unborn => {
                self.remove_xp_reference(DETACHED_AT);
                Ok(())
            }
        }
    }

    fn forget_move(&self) {
        // `MOVING` is not believed without `MOVING_FROM`, so that one goes first.
        self.remove_xp_reference(MOVING_FROM);
        self.remove_xp_reference(MOVING);
    }

    /// Finds conflicts that libgit2 detects only in the middle of a checkout: a folder with untracked files where
    /// a file would be written, and an untracked file or symlink where a folder would be created.
    fn conflicting_paths(&self, to: &Commit<'_>) -> Result<Vec<String>, git2::Error> {
        let before = self.repository.head()?.peel_to_tree()?;
        let difference =
            self.repository
                .diff_tree_to_tree(Some(&before), Some(&to.tree()?), None)?;
        let mut found = Vec::new();
        for delta in difference.deltas() {
            let file = delta.new_file();
            let is_file = file.exists() && file.mode() != FileMode::Commit;
            let Some(path) = file.path().filter(|_| is_file) else {
                continue;
            };
            let untracked = path
                .ancestors()
                .skip(1)
                .filter(|folder| *folder != Path::new(""))
                .find(|folder| self.is_untracked_file(folder, &before))
                .or_else(|| self.has_untracked_content(path, &before).then_some(path));
            if let Some(path) = untracked.map(|path| path.display().to_string())
                && !found.contains(&path)
            {
                found.push(path);
            }
            if found.len() == NAMED_FILES {
                break;
            }
        }
        Ok(found)
    }

    /// Returns whether there is a file or symlink that is not in the commit.
    fn is_untracked_file(&self, path: &Path, before: &Tree<'_>) -> bool {
        let there = self.dir.join(path).symlink_metadata();
        there.is_ok_and(|there| !there.is_dir()) && before.get_path(path).is_err()
    }

    /// Returns whether there is a folder with anything in it that is not in the commit.
    fn has_untracked_content(&self, path: &Path, before: &Tree<'_>) -> bool {
        let folder = self.dir.join(path);
        let is_folder = folder.symlink_metadata().is_ok_and(|there| there.is_dir());
        is_folder
            && WalkDir::new(&folder)
                .min_depth(1)
                .into_iter()
                .any(|entry| match entry {
                    Ok(entry) if entry.file_type().is_dir() => false,
                    Ok(entry) => entry
                        .path()
                        .strip_prefix(&self.dir)
                        .is_ok_and(|path| before.get_path(path).is_err()),
                    Err(_) => true,
                })
    }

    /// Resets the files that a failed checkout wrote to `HEAD`, and no others.
    fn roll_back(&self, written: &Commit<'_>) -> Result<(), git2::Error> {
        let before = self.repository.head()?.peel_to_commit()?;
        let (old, new) = (before.tree()?, written.tree()?);
        let difference = self
            .repository
            .diff_tree_to_tree(Some(&old), Some(&new), None)?;
        let mut options = CheckoutBuilder::new();
        options.force().disable_pathspec_match(true);
        // Discard the index entries of the failed checkout, which are only in memory.
        self.repository.index()?.read(true)?;
        let mut is_any = false;
        for delta in difference.deltas() {
            let Some(path) = delta.new_file().path().or(delta.old_file().path()) else {
                continue;
            };
            let there = self.hash(path)?;
            let wanted = new.get_path(path).ok().map(|entry| entry.id());
            if there != wanted {
                continue;
            }
            if old.get_path(path).is_ok() {
                options.path(path);
                is_any = true;
            } else if there.is_some() {
                let _ = std::fs::remove_file(self.dir.join(path));
            }
        }
        if is_any {
            self.repository
                .checkout_tree(before.as_object(), Some(&mut options))?;
        }
        Ok(())
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
            Move::ReturnToBranch { name, from } => {
                let name = format!("refs/heads/{name}");
                self.repository.reference_matching(
                    &name,
                    to,
                    true,
                    oid(*from)?,
                    "xp: follow the remote",
                )?;
                self.repository.set_head(&name)
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

    /// Returns whether a branch tracks a remote's branch: by its configuration, or without one by its name.
    pub fn branch_tracks(&self, branch: &str, remote: Option<&str>, remote_branch: &str) -> bool {
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
            // The user made it track another branch.
            (Some(_), Some(_), _) => false,
            _ => branch == remote_branch,
        }
    }

    /// Returns whether a local branch exists.
    pub fn has_branch(&self, branch: &str) -> bool {
        self.repository
            .find_branch(branch, git2::BranchType::Local)
            .is_ok()
    }
}
