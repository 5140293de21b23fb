//! What a working copy is in the middle of.

use std::path::Path;

use git2::{ErrorCode, RepositoryState, Status, TreeEntry};

use super::conversion;
use super::index_file::index_of;
use super::status::{Difference, Scope, Untracked, differences};
use super::{GitError, WorkingCopy};
use crate::source::CommitId;

/// How many changed files are named.
const NAMED_FILES: usize = 5;

/// What is checked out.
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
    /// A branch without a commit: `git init`, or a clone that was broken off.
    Unborn,
}

/// Something that a person has begun and not finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OperationUnderWay {
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

impl OperationUnderWay {
    /// Returns its name, as in "a merge is under way".
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

/// Changes of tracked files; untracked ones do not count.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Files with changes in the index, the first few of them.
    pub staged: Vec<String>,
    /// Files with changes that are not in the index, or with conflicts; the first few of them.
    pub modified: Vec<String>,
}

/// How many paths are not as the commit has them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ChangeCounts {
    /// Tracked files with changes, in the index or not, and those with conflicts.
    pub modified: usize,
    /// Files and folders that are neither tracked nor ignored.
    pub untracked: usize,
}

impl WorkingCopy {
    /// Returns what is checked out.
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

    /// Returns what a person has begun and not finished.
    pub fn operation_under_way(&self) -> Option<OperationUnderWay> {
        match self.repository.state() {
            RepositoryState::Clean => None,
            RepositoryState::Merge => Some(OperationUnderWay::Merge),
            RepositoryState::Revert | RepositoryState::RevertSequence => {
                Some(OperationUnderWay::Revert)
            }
            RepositoryState::CherryPick | RepositoryState::CherryPickSequence => {
                Some(OperationUnderWay::CherryPick)
            }
            RepositoryState::Bisect => Some(OperationUnderWay::Bisect),
            RepositoryState::Rebase
            | RepositoryState::RebaseInteractive
            | RepositoryState::RebaseMerge => Some(OperationUnderWay::Rebase),
            RepositoryState::ApplyMailbox | RepositoryState::ApplyMailboxOrRebase => {
                Some(OperationUnderWay::ApplyMailbox)
            }
        }
    }

    /// Returns the differences of files that `git status` would list.
    fn differences(
        &self,
        untracked: Untracked,
        submodules: bool,
    ) -> Result<Vec<Difference>, GitError> {
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
    /// Submodules do not count: xp never moves what is inside them.
    ///
    /// # Errors
    ///
    /// The index or a file cannot be read.
    pub fn changes(&self) -> Result<Changes, GitError> {
        let staged = Status::INDEX_NEW
            | Status::INDEX_MODIFIED
            | Status::INDEX_DELETED
            | Status::INDEX_RENAMED
            | Status::INDEX_TYPECHANGE;
        let mut changes = Changes::default();
        for Difference { path, status } in self.differences(Untracked::No, false)? {
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

    /// Counts what is not as the commit has it; a folder without a tracked file counts once.
    ///
    /// Nothing is written, not even the index, which `git status` refreshes. Submodules count as they do there.
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

    /// Returns the tracked files that differ from `HEAD`, staged or not, by their paths. Submodules do not count,
    /// and nothing is written.
    ///
    /// # Errors
    ///
    /// The index or a file cannot be read.
    pub fn modified_paths(&self) -> Result<Vec<String>, GitError> {
        let modified = self.differences(Untracked::No, false)?.into_iter();
        let paths = modified.map(|it| String::from_utf8_lossy(&it.path).into_owned());
        Ok(paths.collect())
    }

    /// Tells whether a file or folder is another one in two commits. One that cannot be read is.
    pub fn differs_at(&self, path: &str, one: CommitId, other: CommitId) -> bool {
        let at = |commit| -> Result<git2::Oid, git2::Error> {
            let commit = super::working_copy::oid(commit)?;
            let tree = self.repository.find_commit(commit)?.tree()?;
            Ok(tree.get_path(Path::new(path))?.id())
        };
        match (at(one), at(other)) {
            (Ok(one), Ok(other)) => one != other,
            _ => true,
        }
    }

    /// Tells whether every difference to `HEAD` is what a move to a commit, broken off halfway, leaves
    /// behind: files that are that commit's, whole or only begun. Such a move can be finished without losing
    /// anything.
    ///
    /// # Errors
    ///
    /// The index or a file cannot be read.
    pub fn is_halfway_to(&self, commit: CommitId) -> Result<bool, GitError> {
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
        for Difference { path, status } in differences(&self.repository, scope)? {
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
                        && (self.hash(path)? == Some(wanted.id()) || self.is_begun(path, wanted))
                }
            };
            // The index, too, must hold what was or what comes, and nothing else.
            let in_index = index.get_path(path, 0).map(|entry| entry.id);
            let before = self.repository.head()?.peel_to_tree()?.get_path(path).ok();
            let index_is_known = in_index == wanted.as_ref().map(TreeEntry::id)
                || in_index == before.as_ref().map(TreeEntry::id);
            // A person's file that the move does not concern.
            let is_foreign = status == Status::WT_NEW && wanted.is_none();
            let is_of_the_move = is_wanted && index_is_known;
            if !is_foreign && !is_of_the_move {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Tells whether a file is the beginning of what is to be in it, as a checkout leaves it that was killed.
    fn is_begun(&self, path: &Path, wanted: &TreeEntry<'_>) -> bool {
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
            || blob.content().starts_with(&with_plain_line_ends(&found))
    }

    /// Returns the id that a file's content has, or would have; none where there is no file.
    pub(super) fn hash(&self, path: &Path) -> Result<Option<git2::Oid>, git2::Error> {
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
        // A blob through the filters, such as those of line ends; an object too many does no harm.
        self.repository.blob_path(&file).map(Some)
    }
}

/// Returns a text with the line ends that it has in a commit, where a checkout made others of them.
fn with_plain_line_ends(text: &[u8]) -> Vec<u8> {
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    let lines = text.split(|byte| *byte == b'\n');
    let lines = lines.map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    lines.collect::<Vec<_>>().join(&b'\n')
}
