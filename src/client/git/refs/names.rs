//! Names of remote branches and tags as of the last fetch, for completion.

use std::collections::BTreeSet;

use crate::client::git::WorkingCopy;

/// Short names of references.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RefNames {
    /// Branches of the remotes.
    pub branches: BTreeSet<String>,
    /// Tags.
    pub tags: BTreeSet<String>,
}

impl WorkingCopy {
    /// Returns the branches and tags as of the last fetch; unreadable ones are skipped.
    pub fn ref_names(&self) -> RefNames {
        let mut names = RefNames::default();
        let Ok(mut references) = self.repository.references() else {
            return names;
        };
        for name in references.names().flatten() {
            if let Some(tag) = name.strip_prefix("refs/tags/") {
                names.tags.insert(tag.to_owned());
            } else if let Some(branch) = remote_branch(name) {
                names.branches.insert(branch.to_owned());
            }
        }
        names
    }
}

/// Returns the remote branch of a tracking reference, including those in xp's own namespace.
fn remote_branch(name: &str) -> Option<&str> {
    let branch = match name.strip_prefix("refs/xp/remotes/") {
        Some(branch) => branch,
        None => name.strip_prefix("refs/remotes/")?.split_once('/')?.1,
    };
    (branch != "HEAD").then_some(branch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn branches_are_those_of_remotes() {
        assert_eq!(remote_branch("refs/remotes/origin/a/b"), Some("a/b"));
        assert_eq!(remote_branch("refs/xp/remotes/a/b"), Some("a/b"));
        assert_eq!(remote_branch("refs/remotes/origin/HEAD"), None);
        assert_eq!(remote_branch("refs/heads/a"), None);
    }
}
