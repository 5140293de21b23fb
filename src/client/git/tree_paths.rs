//! What a commit has at a path.

use std::path::Path;

use git2::{ErrorCode, ObjectType, Tree, TreeWalkMode, TreeWalkResult};

use super::working_copy::oid;
use super::{GitError, WorkingCopy};
use crate::source::CommitId;

/// What a commit has at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathKind {
    /// A folder.
    Folder,
    /// A file.
    File,
    /// A symbolic link.
    Link,
    /// A commit of another repository.
    Submodule,
}

impl WorkingCopy {
    /// Returns what a file of a commit holds; none where there is no file.
    ///
    /// # Errors
    ///
    /// The commit or the file is not in the object store.
    pub fn file_of(&self, commit: CommitId, path: &str) -> Result<Option<Vec<u8>>, GitError> {
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
        // A shallow clone has no more.
        let parent = found.parent_ids().next();
        let parent = parent.filter(|id| self.repository.find_commit(*id).is_ok());
        Ok(parent.map(Into::into))
    }

    /// Returns the folder of a path, or the path itself, that is a submodule.
    pub fn submodule_above(&self, commit: CommitId, path: &str) -> Option<String> {
        let root = self.tree_of(commit).ok()?;
        let is_submodule = |path: &&Path| {
            let entry = root.get_path(path);
            entry.is_ok_and(|entry| entry.kind() == Some(ObjectType::Commit))
        };
        let above = Path::new(path).ancestors().find(is_submodule)?;
        Some(above.display().to_string())
    }

    /// Returns what a commit has at a path; none where there is nothing.
    ///
    /// # Errors
    ///
    /// The commit or a folder on the way is not in the object store.
    pub fn path_kind(&self, commit: CommitId, path: &str) -> Result<Option<PathKind>, GitError> {
        let entry = self
            .tree_of(commit)
            .and_then(|tree| match tree.get_path(Path::new(path)) {
                Err(cause) if cause.code() == ErrorCode::NotFound => Ok(None),
                // Below a submodule or a file, there is no folder to look into.
                Err(_) if self.submodule_above(commit, path).is_some() => Ok(None),
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

    /// Returns whether a commit has submodules at these paths or below them.
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

    /// Returns the folders of a commit that stand where a missing one was looked for: in the
    /// innermost folder of its path that is there.
    pub fn folders_beside(&self, commit: CommitId, path: &str) -> Vec<String> {
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
        match is_found {
            true => TreeWalkResult::Abort,
            false => TreeWalkResult::Ok,
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
