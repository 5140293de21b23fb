//! The source that a service is built from.

use super::{CommitId, ResolvedReference, TreeChanges, WorkingTree};

/// The source that a service is built from in this run, and where its reference comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceSource {
    /// The resolved reference, which the working copy follows.
    pub tip: ResolvedReference,
    /// The commit to build: the tip, or with `git.path` the last commit that changed the path.
    pub commit: CommitId,
    /// The origin of the reference.
    pub origin: ReferenceOrigin,
    /// The manifest's own reference if another one is built, with the last commit that changed the path for
    /// `git.path`. `None` if it was not queried or does not exist.
    pub manifest_reference: Option<ResolvedReference>,
    /// The time of the commit, in seconds since 1970, if it is known before its files are fetched.
    pub commit_time: Option<i64>,
    /// The working copy, if it is built in place of a commit.
    pub local: Option<WorkingTree>,
}

/// The origin of a service's reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ReferenceOrigin {
    /// The manifest's `git.reference` or `scm.reference`, or the remote's default branch.
    Manifest,
    /// `--branch`, for a branch that exists in the repository.
    Branch,
    /// `--reference`
    Reference,
    Lock,
    /// `--local`: what is checked out.
    WorkingCopy,
}

impl ReferenceOrigin {
    /// Returns the name used in machine-readable output.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Manifest => "manifest",
            Self::Branch => "branch",
            Self::Reference => "reference",
            Self::Lock => "lock",
            Self::WorkingCopy => "working copy",
        }
    }
}

impl ServiceSource {
    /// Creates the source for the commit of a reference.
    pub fn of(tip: ResolvedReference, origin: ReferenceOrigin) -> Self {
        let commit = tip.commit;
        Self {
            tip,
            commit,
            origin,
            manifest_reference: None,
            commit_time: None,
            local: None,
        }
    }

    /// Returns whether the commit to build differs from that of the manifest's reference.
    ///
    /// A branch without additional commits does not deviate, nor does one with commits that change only other services
    /// of the repository. A lock names its images itself, and the image of a working copy is named by its content.
    pub fn deviates(&self) -> bool {
        let manifest_reference = self
            .manifest_reference
            .as_ref()
            .map(|manifest_reference| manifest_reference.commit);
        match self.origin {
            ReferenceOrigin::Manifest | ReferenceOrigin::Lock | ReferenceOrigin::WorkingCopy => {
                false
            }
            ReferenceOrigin::Branch | ReferenceOrigin::Reference => {
                manifest_reference != Some(self.commit)
            }
        }
    }

    /// Returns the reference that is passed to the build: the manifest's if it is the same commit, so that the image
    /// does not depend on the name used to request the commit.
    pub fn build_reference(&self) -> &ResolvedReference {
        match &self.manifest_reference {
            Some(manifest_reference) if !self.deviates() => manifest_reference,
            _ => &self.tip,
        }
    }

    /// Returns the reference that the working copy is updated to: for a lock the bare commit, because its branch may
    /// have moved.
    pub fn sync_reference(&self) -> ResolvedReference {
        match self.origin {
            ReferenceOrigin::Lock => ResolvedReference {
                commit: self.commit,
                name: None,
            },
            _ => self.tip.clone(),
        }
    }

    /// Creates the source for a working copy in its current state; `tip` is its `HEAD`.
    pub fn from_working_copy(tip: ResolvedReference, tree: WorkingTree) -> Self {
        Self {
            local: Some(tree),
            ..Self::of(tip, ReferenceOrigin::WorkingCopy)
        }
    }

    /// Returns the uncommitted changes of a working copy that is built in place.
    pub fn changes(&self) -> Option<&TreeChanges> {
        self.local.as_ref()?.changes.as_ref()
    }

    /// Returns [`ResolvedReference::short_name`] of the tip.
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
        let source = |origin, manifest_reference: Option<CommitId>| ServiceSource {
            manifest_reference: manifest_reference.map(|commit| resolved(commit, "master")),
            ..ServiceSource::of(resolved(commit("a"), "topic"), origin)
        };
        assert!(!source(ReferenceOrigin::Manifest, None).deviates());
        assert!(!source(ReferenceOrigin::Branch, Some(commit("a"))).deviates());
        assert!(source(ReferenceOrigin::Branch, Some(commit("b"))).deviates());
        assert!(source(ReferenceOrigin::Reference, None).deviates());
        // The branch's commits did not change the service.
        let mut part = source(ReferenceOrigin::Branch, Some(commit("c")));
        part.commit = commit("c");
        assert!(!part.deviates());
        let build_reference = |manifest_reference| {
            let source = source(ReferenceOrigin::Branch, manifest_reference);
            source.build_reference().short_name().map(str::to_owned)
        };
        assert_eq!(
            build_reference(Some(commit("a"))).as_deref(),
            Some("master")
        );
        assert_eq!(build_reference(Some(commit("b"))).as_deref(), Some("topic"));
    }
}
