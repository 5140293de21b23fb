//! What a commit has at a path.

use std::path::Path;

use git2::{ErrorCode, ObjectType, Tree};

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

fn folders(tree: &Tree<'_>, prefix: &str) -> Vec<String> {
    tree.iter()
        .filter(|entry| entry.kind() == Some(ObjectType::Tree))
        .filter_map(|entry| Some(format!("{prefix}{}", entry.name().ok()?)))
        .collect()
}
