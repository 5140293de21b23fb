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
    /// The commit that the manifest's own reference stands for, where something else is built instead;
    /// none where it was not asked for, or does not exist.
    pub normal: Option<CommitId>,
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
}

impl Origin {
    /// Returns the word for it, as other programs get it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Manifest => "manifest",
            Self::Branch => "branch",
            Self::Reference => "reference",
        }
    }
}

impl ServiceSource {
    /// Returns the source that is a reference's own commit.
    pub fn of(tip: ResolvedReference, origin: Origin) -> Self {
        let commit = tip.commit;
        Self {
            tip,
            commit,
            origin,
            normal: None,
        }
    }

    /// Tells whether another commit is built than the one that the manifest's reference stands for.
    ///
    /// A branch that has no commit of its own yet makes no difference: what is built is the same.
    pub fn deviates(&self) -> bool {
        self.origin != Origin::Manifest && self.normal != Some(self.tip.commit)
    }

    /// Returns the branch's or tag's short name, as [`ResolvedReference::short_name`].
    pub fn short_name(&self) -> Option<&str> {
        self.tip.short_name()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_deviates_by_its_commit() {
        let commit = |digit: &str| digit.repeat(40).parse::<CommitId>().unwrap();
        let source = |origin, normal| {
            let tip = ResolvedReference {
                commit: commit("a"),
                name: None,
            };
            ServiceSource {
                normal,
                ..ServiceSource::of(tip, origin)
            }
        };
        assert!(!source(Origin::Manifest, None).deviates());
        assert!(!source(Origin::Branch, Some(commit("a"))).deviates());
        assert!(source(Origin::Branch, Some(commit("b"))).deviates());
        assert!(source(Origin::Reference, None).deviates());
    }
}
