//! What is built of a service.

use super::{CommitId, ResolvedReference};

/// What is built of a service this time, and who said so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceSource {
    /// What the reference stands for in the remote: what the working copy follows.
    pub tip: ResolvedReference,
    /// What is built: the tip, or with `git.path` the last commit that touched the path.
    pub commit: CommitId,
    /// Who named the reference.
    pub origin: Origin,
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
    /// The lock.
    Lock,
}

impl ServiceSource {
    /// Returns the source that is a reference's own commit.
    pub fn of(tip: ResolvedReference, origin: Origin) -> Self {
        let commit = tip.commit;
        Self {
            tip,
            commit,
            origin,
        }
    }

    /// Returns what the working copy is brought up to date with: a locked commit stands for itself, as
    /// its branch may be somewhere else by now.
    pub fn followed(&self) -> ResolvedReference {
        match self.origin {
            Origin::Lock => ResolvedReference {
                commit: self.commit,
                name: None,
            },
            _ => self.tip.clone(),
        }
    }

    /// Returns the branch's or tag's short name, as [`ResolvedReference::short_name`].
    pub fn short_name(&self) -> Option<&str> {
        self.tip.short_name()
    }
}
