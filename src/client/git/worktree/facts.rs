//! Remotes, branches and files of a working copy.

use std::collections::BTreeSet;

use git2::{BranchType, Config, ObjectType};

use crate::client::git::{GitError, WorkingCopy};
use crate::model::source::CommitId;

/// The mode of a symbolic link in a tree.
const SYMLINK: i32 = 0o120_000;

/// A remote in a working copy's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfiguredRemote {
    /// Its name, such as `origin`.
    pub name: String,
    /// The URL as configured; it may contain a password, so never print it.
    pub url: String,
}

impl WorkingCopy {
    /// Returns the configured remotes, `origin` first.
    ///
    /// The URLs are as configured, because `url.<base>.insteadOf` is specific to the user.
    pub fn configured_remotes(&self) -> Vec<ConfiguredRemote> {
        let Ok(names) = self.repository.remotes() else {
            return Vec::new();
        };
        let config = self
            .repository
            .config()
            .and_then(|mut config| config.snapshot());
        let url = |name: &str| {
            let key = format!("remote.{name}.url");
            let text = |config: &Config| config.get_string(&key).ok();
            config.as_ref().ok().and_then(text)
        };
        let names = names.iter().filter_map(|name| name.ok().flatten());
        let remotes = names.filter_map(|name| {
            Some(ConfiguredRemote {
                url: url(name)?,
                name: name.to_owned(),
            })
        });
        let mut remotes: Vec<ConfiguredRemote> = remotes.collect();
        remotes.sort_by_key(|remote| remote.name != "origin");
        remotes
    }

    /// Returns the branch of a remote that a local branch tracks.
    pub fn tracked_branch(&self, branch: &str, remote: &str) -> Option<String> {
        let config = self.repository.config().ok()?.snapshot().ok()?;
        let value = |key: &str| config.get_string(&format!("branch.{branch}.{key}")).ok();
        if value("remote")? != remote {
            return None;
        }
        value("merge")?
            .strip_prefix("refs/heads/")
            .map(str::to_owned)
    }

    /// Returns the default branch of a remote, as of the clone.
    pub fn default_branch_of(&self, remote: &str) -> Option<String> {
        let head = format!("refs/remotes/{remote}/HEAD");
        let reference = self.repository.find_reference(&head).ok()?;
        let target = reference.symbolic_target().ok().flatten()?.to_owned();
        let branch = target.strip_prefix(&format!("refs/remotes/{remote}/"))?;
        Some(branch.to_owned())
    }

    /// Returns the branches of a remote, as of the last fetch, sorted.
    pub fn branches_of(&self, remote: &str) -> Vec<String> {
        let prefix = format!("{remote}/");
        let Ok(branches) = self.repository.branches(Some(BranchType::Remote)) else {
            return Vec::new();
        };
        let names = branches.filter_map(|branch| {
            let (branch, _) = branch.ok()?;
            let name = branch.name().ok().flatten()?;
            let name = name.strip_prefix(&prefix)?;
            (name != "HEAD").then(|| name.to_owned())
        });
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }

    /// Returns whether git ignores a path, which is relative to the working copy. A folder ends with a slash.
    pub fn ignores(&self, path: &str) -> bool {
        self.repository.is_path_ignored(path).unwrap_or(false)
    }

    /// Returns the paths of a commit's files, symlinks and submodules; `None` if there are more than `limit`.
    ///
    /// A symlink or submodule is also listed with a trailing slash, because it may stand for a folder.
    ///
    /// # Errors
    ///
    /// The commit or a folder of it is not in the object store.
    pub fn list_files(
        &self,
        commit: CommitId,
        limit: usize,
    ) -> Result<Option<BTreeSet<String>>, GitError> {
        let failed = |cause| self.failed(&format!("list the files of {commit}"), cause);
        let root = super::working_copy::oid(commit)
            .and_then(|id| self.repository.find_commit(id))
            .and_then(|commit| commit.tree())
            .map_err(failed)?;
        let mut files = BTreeSet::new();
        let mut waiting = vec![(String::new(), root)];
        while let Some((folder, tree)) = waiting.pop() {
            for entry in &tree {
                // A name that is not UTF-8 cannot be used in a manifest.
                let Ok(name) = entry.name() else { continue };
                let path = format!("{folder}{name}");
                if entry.kind() == Some(ObjectType::Tree) {
                    let inner = self.repository.find_tree(entry.id()).map_err(failed)?;
                    waiting.push((format!("{path}/"), inner));
                } else {
                    if entry.kind() == Some(ObjectType::Commit) || entry.filemode() == SYMLINK {
                        files.insert(format!("{path}/"));
                    }
                    files.insert(path);
                }
            }
            if files.len() > limit {
                return Ok(None);
            }
        }
        Ok(Some(files))
    }
}
