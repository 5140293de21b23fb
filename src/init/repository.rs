//! What is known of a folder and of the working copies in it.

use std::collections::BTreeSet;

use super::path;
use crate::source::GitUrl;

/// A folder that is to become a platform.
#[derive(Debug, Default)]
pub struct Folder {
    /// Its name, for services that have none.
    pub name: String,
    /// The working copies in it, sorted by their folders; `.` is the folder itself.
    pub repositories: Vec<Repository>,
    /// The remote of the repository that a manifest of repo came from.
    pub repo_remote: Option<GitUrl>,
    /// What could not be looked at, and why.
    pub unreadable: Vec<(String, String)>,
}

impl Folder {
    /// Returns the working copy in a folder.
    pub fn repository(&self, dir: &str) -> Option<&Repository> {
        self.repositories
            .iter()
            .find(|repository| repository.dir == dir)
    }

    /// Forgets the working copies that are not in a folder.
    pub fn keep_below(&mut self, folder: &str) {
        let folder = if folder.is_empty() { "." } else { folder };
        self.repositories
            .retain(|repository| path::below(&repository.dir, folder).is_some());
    }
}

/// A working copy.
#[derive(Debug, Clone, Default)]
pub struct Repository {
    /// Its folder, from the platform's on.
    pub dir: String,
    /// The URL of its remote, without credentials.
    pub remote: Option<GitUrl>,
    /// What there is to say of the remote.
    pub remote_remarks: Vec<String>,
    /// A URL of the working copy itself, for what has no other remote.
    pub own_url: String,
    /// The branch that is checked out.
    pub branch: Option<String>,
    /// The branch of the remote that it tracks.
    pub upstream: Option<String>,
    /// The remote's default branch.
    pub default_branch: Option<String>,
    /// The branches of the remote, as of the last fetch.
    pub remote_branches: Vec<String>,
    /// Whether there is a commit.
    pub has_commit: bool,
    /// The files of the commit that is built; none where there are too many to list.
    pub files: Option<BTreeSet<String>>,
    /// Dockerfiles that are in the working copy and not in that commit.
    pub new_dockerfiles: Vec<String>,
}

impl Repository {
    /// Tells whether its remote has something of it, as far as is known here.
    pub fn is_published(&self) -> bool {
        self.remote.is_some() && !self.remote_branches.is_empty()
    }

    /// Returns the branch of the remote to build: the one that is tracked, else the one of the same
    /// name, else the default branch; none where that is not known either.
    pub fn branch_to_build(&self) -> Option<&str> {
        let is_there = |branch: &&String| self.remote_branches.contains(branch);
        let tracked = self.upstream.iter().find(is_there);
        let tracked = tracked.or_else(|| self.branch.iter().find(is_there));
        tracked.or(self.default_branch.as_ref()).map(String::as_str)
    }

    /// Tells whether the commit has a file or folder; what is not known counts as there.
    pub fn holds(&self, path: &str) -> bool {
        let Some(files) = &self.files else {
            return true;
        };
        if path == "." || files.contains(path) {
            return true;
        }
        let folder = format!("{path}/");
        files
            .range(folder.clone()..)
            .next()
            .is_some_and(|file| file.starts_with(&folder))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repository(upstream: &str, branch: &str, default: &str, remote: &[&str]) -> Repository {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Repository {
            upstream: some(upstream),
            branch: some(branch),
            default_branch: some(default),
            remote_branches: remote.iter().map(|name| (*name).to_owned()).collect(),
            ..Repository::default()
        }
    }

    #[test]
    fn the_branch_that_is_tracked_is_built() {
        for (upstream, branch, default, expected) in [
            ("dev", "mine", "main", Some("dev")),
            ("gone", "dev", "main", Some("dev")),
            ("", "mine", "main", Some("main")),
            ("", "", "main", Some("main")),
            ("", "", "", None),
        ] {
            let found = repository(upstream, branch, default, &["dev", "main"]);
            assert_eq!(found.branch_to_build(), expected);
        }
    }

    #[test]
    fn files_and_folders_of_the_commit_are_known() {
        let mut found = Repository::default();
        assert!(found.holds("anything"));
        found.files = Some(["a/b/c", "a-z", "d"].map(str::to_owned).into());
        for there in [".", "a", "a/b", "a/b/c", "d"] {
            assert!(found.holds(there), "{there}");
        }
        for missing in ["b", "a/c", "a/b/c/d", "a-"] {
            assert!(!found.holds(missing), "{missing}");
        }
    }
}
