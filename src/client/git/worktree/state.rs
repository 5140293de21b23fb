//! The state of a working copy: its `HEAD`, an unfinished operation, and its changes.

use std::path::Path;

use git2::{ErrorCode, RepositoryState, Status, TreeEntry};

use super::conversion;
use super::index_file::index_of;
use super::status::{Scope, StatusDifference, Untracked, differences};
use crate::client::git::{GitError, WorkingCopy};
use crate::model::source::CommitId;

/// The maximum number of changed files to report.
const NAMED_FILES: usize = 5;

/// The target of `HEAD`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Head {
    /// A branch, by its short name.
    Branch {
        /// Such as `master`.
        name: String,
        /// Its last commit.
        commit: CommitId,
    },
    /// A commit without a branch.
    Detached(CommitId),
    /// A branch without a commit, after `git init` or an interrupted clone.
    Unborn,
}

impl Head {
    /// Returns the commit, if there is one.
    pub fn commit(&self) -> Option<CommitId> {
        match self {
            Self::Branch { commit, .. } | Self::Detached(commit) => Some(*commit),
            Self::Unborn => None,
        }
    }
}

/// An unfinished git operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OperationInProgress {
    /// `git merge`
    Merge,
    /// `git rebase`
    Rebase,
    /// `git cherry-pick`
    CherryPick,
    /// `git revert`
    Revert,
    /// `git bisect`
    Bisect,
    /// `git am`
    ApplyMailbox,
}

impl OperationInProgress {
    /// Returns its name, as in "a merge is in progress".
    pub fn name(self) -> &'static str {
        match self {
            Self::Merge => "merge",
            Self::Rebase => "rebase",
            Self::CherryPick => "cherry-pick",
            Self::Revert => "revert",
            Self::Bisect => "bisect",
            Self::ApplyMailbox => "`git am`",
        }
    }
}

/// Changes of tracked files; untracked files do not count.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LocalChanges {
    /// Files with changes in the index, the first few of them.
    pub staged: Vec<String>,
    /// Files with changes that are not in the index, or with conflicts; the first few of them.
    pub modified: Vec<String>,
}

/// The number of paths that differ from the commit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ChangeCounts {
    /// Tracked files with changes, staged or not, or with conflicts.
    pub modified: usize,
    /// Files and folders that are neither tracked nor ignored.
    pub untracked: usize,
}

impl WorkingCopy {
    /// Returns the target of `HEAD`.
    ///
    /// # Errors
    ///
    /// `HEAD` cannot be read.
    pub fn head(&self) -> Result<Head, GitError> {
        let head = match self.repository.head() {
            Ok(head) => head,
            Err(cause) if matches!(cause.code(), ErrorCode::UnbornBranch | ErrorCode::NotFound) => {
                return Ok(Head::Unborn);
            }
            Err(cause) => return Err(self.failed("read HEAD", cause)),
        };
        let commit = head
            .peel_to_commit()
            .map_err(|cause| self.failed("read the commit of HEAD", cause))?
            .id()
            .into();
        match head.shorthand() {
            Ok(name) if head.is_branch() => Ok(Head::Branch {
                name: name.to_owned(),
                commit,
            }),
            _ => Ok(Head::Detached(commit)),
        }
    }

    /// Returns the unfinished operation, if any.
    pub fn operation_in_progress(&self) -> Option<OperationInProgress> {
        match self.repository.state() {
            RepositoryState::Clean => None,
            RepositoryState::Merge => Some(OperationInProgress::Merge),
            RepositoryState::Revert | RepositoryState::RevertSequence => {
                Some(OperationInProgress::Revert)
            }
            RepositoryState::CherryPick | RepositoryState::CherryPickSequence => {
                Some(OperationInProgress::CherryPick)
            }
            RepositoryState::Bisect => Some(OperationInProgress::Bisect),
            RepositoryState::Rebase
            | RepositoryState::RebaseInteractive
            | RepositoryState::RebaseMerge => Some(OperationInProgress::Rebase),
            RepositoryState::ApplyMailbox | RepositoryState::ApplyMailboxOrRebase => {
                Some(OperationInProgress::ApplyMailbox)
            }
        }
    }

    /// Returns the differences that `git status` would list.
    fn differences(
        &self,
        untracked: Untracked,
        submodules: bool,
    ) -> Result<Vec<StatusDifference>, GitError> {
        let scope = Scope {
            below: &[],
            untracked,
            submodules,
        };
        differences(&self.repository, scope)
            .map_err(|cause| self.failed("compare the files", cause))
    }

    /// Returns the changes of tracked files.
    ///
    /// Submodules do not count: xp never changes their working copies.
    ///
    /// # Errors
    ///
    /// The index or a file cannot be read.
    pub fn changes(&self) -> Result<LocalChanges, GitError> {
        let staged = Status::INDEX_NEW
            | Status::INDEX_MODIFIED
            | Status::INDEX_DELETED
            | Status::INDEX_RENAMED
            | Status::INDEX_TYPECHANGE;
        let mut changes = LocalChanges::default();
        for StatusDifference { path, status } in self.differences(Untracked::No, false)? {
            let path = String::from_utf8_lossy(&path).into_owned();
            let list = if status.intersects(staged) {
                &mut changes.staged
            } else {
                &mut changes.modified
            };
            if list.len() < NAMED_FILES {
                list.push(path);
            }
        }
        Ok(changes)
    }

    /// Counts the paths that differ from the commit; a folder without tracked files counts once.
    ///
    /// Nothing is written: unlike `git status`, this does not refresh the index. Submodules count like there.
    ///
    /// # Errors
    ///
    /// The index or a file cannot be read.
    pub fn count_changes(&self) -> Result<ChangeCounts, GitError> {
        let mut counts = ChangeCounts::default();
        for difference in self.differences(Untracked::Folders, true)? {
            match difference.status {
                Status::WT_NEW => counts.untracked += 1,
                _ => counts.modified += 1,
            }
        }
        Ok(counts)
    }

    /// Returns the paths of tracked files that differ from `HEAD`, staged or not. Submodules do not count, and
    /// nothing is written.
    ///
    /// # Errors
    ///
    /// The index or a file cannot be read.
    pub fn modified_paths(&self) -> Result<Vec<String>, GitError> {
        let modified = self.differences(Untracked::No, false)?.into_iter();
        let paths = modified.map(|it| String::from_utf8_lossy(&it.path).into_owned());
        Ok(paths.collect())
    }

    /// Returns whether all differences from `HEAD` come from an interrupted move to a commit, that is, the files
    /// have the content of that commit or the beginning of it. Such a move can be finished without losing
    /// anything.
    ///
    /// # Errors
    ///
    /// The index or a file cannot be read.
    pub(super) fn is_interrupted_move_to(&self, commit: CommitId) -> Result<bool, GitError> {
        self.differences_are_of(commit)
            .map_err(|cause| self.failed("compare the files", cause))
    }

    fn differences_are_of(&self, commit: CommitId) -> Result<bool, git2::Error> {
        let tree = self
            .repository
            .find_commit(super::working_copy::oid(commit)?)?
            .tree()?;
        let scope = Scope {
            below: &[],
            untracked: Untracked::Files,
            submodules: false,
        };
        let index = index_of(&self.repository)?;
        for StatusDifference { path, status } in differences(&self.repository, scope)? {
            let Ok(path) = std::str::from_utf8(&path) else {
                return Ok(false);
            };
            let wanted = tree.get_path(Path::new(path)).ok();
            let path = Path::new(path);
            let is_there = self.dir.join(path).symlink_metadata().is_ok();
            let is_wanted = match &wanted {
                None => !is_there || status == Status::WT_NEW,
                Some(wanted) => {
                    is_there
                        && (self.hash(path)? == Some(wanted.id())
                            || self.is_partially_written(path, wanted))
                }
            };
            // The index entry must also match one of the two commits.
            let in_index = index.get_path(path, 0).map(|entry| entry.id);
            let before = self.repository.head()?.peel_to_tree()?.get_path(path).ok();
            let index_is_known = in_index == wanted.as_ref().map(TreeEntry::id)
                || in_index == before.as_ref().map(TreeEntry::id);
            // An untracked file that the move does not affect.
            let is_unrelated = status == Status::WT_NEW && wanted.is_none();
            let is_of_the_move = is_wanted && index_is_known;
            if !is_unrelated && !is_of_the_move {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Returns whether a file contains only the beginning of the wanted content, because a checkout was killed.
    fn is_partially_written(&self, path: &Path, wanted: &TreeEntry<'_>) -> bool {
        let file = self.dir.join(path);
        let is_file = file.symlink_metadata().is_ok_and(|it| it.is_file());
        let Ok(blob) = self.repository.find_blob(wanted.id()) else {
            return false;
        };
        let Some(found) = is_file.then(|| std::fs::read(&file).ok()).flatten() else {
            return false;
        };
        let converted = conversion::file_of(&self.repository, path, blob.content());
        converted.is_some_and(|file| file.starts_with(&found))
            || blob.content().starts_with(&found)
            || blob.content().starts_with(&with_lf_line_endings(&found))
    }

    /// Returns the blob id of a file's content; `None` if the file does not exist.
    pub fn hash(&self, path: &Path) -> Result<Option<git2::Oid>, git2::Error> {
        let file = self.dir.join(path);
        let Ok(metadata) = file.symlink_metadata() else {
            return Ok(None);
        };
        if metadata.is_symlink() {
            let Ok(target) = std::fs::read_link(&file) else {
                return Ok(None);
            };
            let bytes = target.as_os_str().as_encoded_bytes();
            return git2::Oid::hash_object(git2::ObjectType::Blob, bytes).map(Some);
        }
        if !metadata.is_file() {
            return Ok(None);
        }
        // Applies filters such as line ending conversion; writing a superfluous object is harmless.
        self.repository.blob_path(&file).map(Some)
    }
}

/// Converts CRLF line endings to LF, as in the commit.
fn with_lf_line_endings(text: &[u8]) -> Vec<u8> {
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    let lines = text.split(|byte| *byte == b'\n');
    let lines = lines.map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    lines.collect::<Vec<_>>().join(&b'\n')
}
