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
    /// What would be built by the manifest's own reference, where another one was named: its name, and with
    /// `git.path` the last commit that touched the path from there. None where it was not asked for, or does
    /// not exist.
    pub normal: Option<ResolvedReference>,
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
    /// The lock.
    Lock,
}

impl Origin {
    /// Returns the word for it, as other programs get it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Manifest => "manifest",
            Self::Branch => "branch",
            Self::Reference => "reference",
            Self::WorkingCopy => "working copy",
            Self::Lock => "lock",
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
            local: None,
        }
    }

    /// Tells whether another commit is built than the one that the manifest's reference stands for.
    ///
    /// A branch that has no commit of its own yet makes no difference, nor one whose commits touch other
    /// services of the repository: what is built is the same. A lock says itself how each image is called.
    pub fn deviates(&self) -> bool {
        let normal = self.normal.as_ref().map(|normal| normal.commit);
        match self.origin {
            Origin::Manifest | Origin::Lock | Origin::WorkingCopy => false,
            Origin::Branch | Origin::Reference => normal != Some(self.commit),
        }
    }

    /// Returns the reference that the build is told of: the manifest's where it stands for the same
    /// commit, so that the image is the same as well, whatever name the commit was asked for by.
    pub fn built_as(&self) -> &ResolvedReference {
        match &self.normal {
            Some(normal) if !self.deviates() => normal,
            _ => &self.tip,
        }
    }

    /// Returns the source that is a working copy as it stands. `tip` is its `HEAD`, and `commit` what
    /// is built of it.
    pub fn in_place(tip: ResolvedReference, commit: CommitId, tree: WorkingTree) -> Self {
        Self {
            tip,
            commit,
            origin: Origin::WorkingCopy,
            normal: None,
            local: Some(tree),
        }
    }

    /// Returns what a working copy that is built in place has, and its commit has not.
    pub fn changes(&self) -> Option<&TreeChanges> {
        self.local.as_ref()?.changes.as_ref()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_deviates_by_its_commit() {
        let commit = |digit: &str| digit.repeat(40).parse::<CommitId>().unwrap();
        let resolved = |commit, name: &str| ResolvedReference {
            commit,
            name: Some(format!("refs/heads/{name}")),
        };
        let source = |origin, normal: Option<CommitId>| ServiceSource {
            normal: normal.map(|commit| resolved(commit, "master")),
            ..ServiceSource::of(resolved(commit("a"), "topic"), origin)
        };
        assert!(!source(Origin::Manifest, None).deviates());
        assert!(!source(Origin::Branch, Some(commit("a"))).deviates());
        assert!(source(Origin::Branch, Some(commit("b"))).deviates());
        assert!(source(Origin::Reference, None).deviates());
        // The branch has commits, and none of them touched the service.
        let mut part = source(Origin::Branch, Some(commit("c")));
        part.commit = commit("c");
        assert!(!part.deviates());
        let built_as = |normal| {
            let source = source(Origin::Branch, normal);
            source.built_as().short_name().map(str::to_owned)
        };
        assert_eq!(built_as(Some(commit("a"))).as_deref(), Some("master"));
        assert_eq!(built_as(Some(commit("b"))).as_deref(), Some("topic"));
    }
}
