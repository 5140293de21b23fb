//! What is built of a service.

use super::{CommitId, ResolvedReference, TreeChanges, WorkingTree};

/// What is built of a service this time, and who said so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceSource {
    /// What the reference stands for in the remote: what the working copy follows.
    pub tip: ResolvedReference,
    /// What is built: the tip, or with `git.path` the last commit that touched the path.
    pub commit: CommitId,
    /// Who named the reference.
    pub origin: Origin,
    /// The working copy that is built in place; none where the commit's own files are built.
    pub local: Option<WorkingTree>,
}

/// Who named the reference of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// The manifest's `git.reference`, or the remote's default branch.
    Manifest,
    /// `--branch`, whose branch the repository has.
    Branch,
    /// `--reference`
    Reference,
    /// `--local`: what is checked out.
    WorkingCopy,
}

impl ServiceSource {
    /// Returns the source that is a reference's own commit.
    pub fn of(tip: ResolvedReference, origin: Origin) -> Self {
        let commit = tip.commit;
        Self {
            tip,
            commit,
            origin,
            local: None,
        }
    }

    /// Returns the source that is a working copy as it stands. `tip` is its `HEAD`, and `commit` what
    /// is built of it.
    pub fn in_place(tip: ResolvedReference, commit: CommitId, tree: WorkingTree) -> Self {
        Self {
            tip,
            commit,
            origin: Origin::WorkingCopy,
            local: Some(tree),
        }
    }

    /// Returns what a working copy that is built in place has, and its commit has not.
    pub fn changes(&self) -> Option<&TreeChanges> {
        self.local.as_ref()?.changes.as_ref()
    }

    /// Returns the branch's or tag's short name, as [`ResolvedReference::short_name`].
    pub fn short_name(&self) -> Option<&str> {
        self.tip.short_name()
    }
}
