//! Queries paths in a commit's tree.

use std::path::Path;

use git2::{ErrorCode, ObjectType, Tree, TreeWalkMode, TreeWalkResult};

use crate::client::git::worktree::working_copy::oid;
use crate::client::git::{GitError, WorkingCopy};
use crate::model::source::CommitId;

/// The kind of a path in a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathKind {
    /// A folder.
    Folder,
    /// A file.
    File,
    /// A symbolic link.
    Link,
    /// A submodule.
    Submodule,
}

impl WorkingCopy {
    /// Returns the content of a file in a commit; `None` if it does not exist.
    ///
    /// # Errors
    ///
    /// The commit or the file is not in the object store.
    pub fn read_file_at(&self, commit: CommitId, path: &str) -> Result<Option<Vec<u8>>, GitError> {
        let failed = |cause| self.failed(&format!("read {path} of {commit}"), cause);
        let tree = self.tree_of(commit).map_err(failed)?;
        match tree.get_path(Path::new(path)) {
            Ok(entry) if entry.kind() == Some(ObjectType::Blob) => {
                let blob = self.repository.find_blob(entry.id()).map_err(failed)?;
                Ok(Some(blob.content().to_vec()))
            }
            Ok(_) => Ok(None),
            Err(cause) if cause.code() == ErrorCode::NotFound => Ok(None),
            Err(cause) => Err(failed(cause)),
        }
    }

    /// Returns the first parent of a commit.
    ///
    /// # Errors
    ///
    /// The commit is not in the object store.
    pub fn first_parent(&self, commit: CommitId) -> Result<Option<CommitId>, GitError> {
        let found = oid(commit).and_then(|id| self.repository.find_commit(id));
        let found = found.map_err(|cause| self.failed(&format!("find commit {commit}"), cause))?;
        // In a shallow clone, the parent may be missing.
        let parent = found.parent_ids().next();
        let parent = parent.filter(|id| self.repository.find_commit(*id).is_ok());
        Ok(parent.map(Into::into))
    }

    /// Returns the submodule that contains a path, or is at the path.
    pub fn containing_submodule(&self, commit: CommitId, path: &str) -> Option<String> {
        let root = self.tree_of(commit).ok()?;
        let is_submodule = |path: &&Path| {
            let entry = root.get_path(path);
            entry.is_ok_and(|entry| entry.kind() == Some(ObjectType::Commit))
        };
        let above = Path::new(path).ancestors().find(is_submodule)?;
        Some(above.display().to_string())
    }

    /// Returns the kind of a path in a commit; `None` if it does not exist.
    ///
    /// # Errors
    ///
    /// The commit or a parent folder is not in the object store.
    pub fn path_kind(&self, commit: CommitId, path: &str) -> Result<Option<PathKind>, GitError> {
        let entry = self
            .tree_of(commit)
            .and_then(|tree| match tree.get_path(Path::new(path)) {
                Err(cause) if cause.code() == ErrorCode::NotFound => Ok(None),
                // The path is below a submodule.
                Err(_) if self.containing_submodule(commit, path).is_some() => Ok(None),
                entry => entry.map(Some),
            });
        let entry = entry.map_err(|cause| self.failed(&format!("look into {commit}"), cause))?;
        Ok(entry.map(|entry| match entry.kind() {
            Some(ObjectType::Tree) => PathKind::Folder,
            Some(ObjectType::Commit) => PathKind::Submodule,
            _ if entry.filemode() & 0o170_000 == 0o120_000 => PathKind::Link,
            _ => PathKind::File,
        }))
    }

    /// Returns whether a commit has submodules at or below these paths.
    ///
    /// # Errors
    ///
    /// The commit or a folder is not in the object store.
    pub fn has_submodules(&self, commit: CommitId, paths: &[String]) -> Result<bool, GitError> {
        let failed = |cause| self.failed(&format!("look into {commit}"), cause);
        let root = self.tree_of(commit).map_err(failed)?;
        for path in paths {
            let entry = match root.get_path(Path::new(path)) {
                Err(cause) if cause.code() == ErrorCode::NotFound => continue,
                entry => entry.map_err(failed)?,
            };
            let is_found = match entry.kind() {
                Some(ObjectType::Commit) => true,
                Some(ObjectType::Tree) => {
                    let tree = self.repository.find_tree(entry.id()).map_err(failed)?;
                    has_submodule(&tree).map_err(failed)?
                }
                _ => false,
            };
            if is_found {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Returns the folders next to a missing path, for suggestions: those in its innermost parent that exists.
    pub fn sibling_folders(&self, commit: CommitId, path: &str) -> Vec<String> {
        let Ok(root) = self.tree_of(commit) else {
            return Vec::new();
        };
        let parents = Path::new(path).ancestors().skip(1);
        for parent in parents {
            let prefix = parent.to_string_lossy();
            if prefix.is_empty() {
                return folders(&root, "");
            }
            let entry = root.get_path(parent).ok();
            let tree = entry.and_then(|entry| self.repository.find_tree(entry.id()).ok());
            if let Some(tree) = tree {
                return folders(&tree, &format!("{prefix}/"));
            }
        }
        Vec::new()
    }

    /// Returns the first line of a commit's message.
    pub fn summary(&self, commit: CommitId) -> Option<String> {
        let commit = self.repository.find_commit(oid(commit).ok()?).ok()?;
        commit.summary().ok().flatten().map(str::to_owned)
    }

    fn tree_of(&self, commit: CommitId) -> Result<Tree<'_>, git2::Error> {
        self.repository.find_commit(oid(commit)?)?.tree()
    }
}

fn has_submodule(tree: &Tree<'_>) -> Result<bool, git2::Error> {
    let mut is_found = false;
    let walked = tree.walk(TreeWalkMode::PreOrder, |_, entry| {
        is_found |= entry.kind() == Some(ObjectType::Commit);
        if is_found {
            TreeWalkResult::Abort
        } else {
            TreeWalkResult::Ok
        }
    });
    match walked {
        Err(_) if is_found => Ok(true),
        walked => walked.map(|()| is_found),
    }
}

fn folders(tree: &Tree<'_>, prefix: &str) -> Vec<String> {
    tree.iter()
        .filter(|entry| entry.kind() == Some(ObjectType::Tree))
        .filter_map(|entry| Some(format!("{prefix}{}", entry.name().ok()?)))
        .collect()
}
