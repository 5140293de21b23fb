//! A folder and its working copies, as input of `xp init`.

use std::collections::BTreeSet;

use crate::model::source::GitUrl;

/// The folder that becomes a platform.
#[derive(Debug, Default)]
pub struct PlatformFolder {
    /// Its name, used for services without a better one.
    pub name: String,
    /// The working copies in it, sorted by folder; `.` is the folder itself.
    pub repositories: Vec<Repository>,
    /// The remote of the repository in `.repo/manifests`.
    pub repo_remote: Option<GitUrl>,
    /// The path to the top of the git repository that contains the folder, such as `../..`, unless the folder is a
    /// working copy itself.
    pub enclosing: Option<String>,
    /// Folders that could not be read, with the reason.
    pub unreadable: Vec<(String, String)>,
}

impl PlatformFolder {
    /// Returns the working copy in a folder.
    pub fn repository(&self, dir: &str) -> Option<&Repository> {
        self.repositories
            .iter()
            .find(|repository| repository.dir == dir)
    }
}

/// A working copy.
#[derive(Debug, Clone, Default)]
pub struct Repository {
    /// Its folder, relative to the platform's folder.
    pub dir: String,
    /// The URL of its remote, without credentials.
    pub remote: Option<GitUrl>,
    /// Remarks on the remote.
    pub remote_remarks: Vec<String>,
    /// The URL of the working copy itself, used if it has no remote.
    pub own_url: String,
    /// The checked-out branch.
    pub branch: Option<String>,
    /// The remote branch it tracks.
    pub upstream: Option<String>,
    /// The remote's default branch.
    pub default_branch: Option<String>,
    /// The branches of the remote, as of the last fetch.
    pub remote_branches: Vec<String>,
    /// Whether it has a commit.
    pub has_commit: bool,
    /// The files of the commit to build; `None` if there are too many. A submodule and a symbolic link are also
    /// listed with a trailing slash: what is in them is unknown.
    pub files: Option<BTreeSet<String>>,
    /// Dockerfiles in the working copy that are not in that commit.
    pub new_dockerfiles: Vec<String>,
}

impl Repository {
    /// Returns whether the remote is known to have a branch of it.
    pub fn is_published(&self) -> bool {
        self.remote.is_some() && !self.remote_branches.is_empty()
    }

    /// Returns the remote branch to build: the tracked one, else the one with the same name, else the default
    /// branch, if known.
    pub fn branch_to_build(&self) -> Option<&str> {
        let exists = |branch: &&String| self.remote_branches.contains(branch);
        let tracked = self.upstream.iter().find(exists);
        let tracked = tracked.or_else(|| self.branch.iter().find(exists));
        tracked.or(self.default_branch.as_ref()).map(String::as_str)
    }

    /// Returns whether the commit is known to contain a file.
    pub fn holds_file(&self, path: &str) -> bool {
        self.files
            .as_ref()
            .is_some_and(|files| files.contains(path))
    }

    /// Returns whether the commit is known to contain a file or folder.
    pub fn has_file_or_folder(&self, path: &str) -> bool {
        self.files.is_some() && self.holds(path)
    }

    /// Returns whether the commit contains a file or folder; `true` if its files are unknown.
    pub fn holds(&self, path: &str) -> bool {
        let Some(files) = &self.files else {
            return true;
        };
        if path == "." || files.contains(path) {
            return true;
        }
        let mut above = path.match_indices('/').map(|(at, _)| &path[..=at]);
        if above.any(|folder| files.contains(folder)) {
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
    fn the_tracked_branch_is_preferred() {
        for (upstream, branch, default, expected) in [
            ("dev", "mine", "main", Some("dev")),
            ("gone", "dev", "main", Some("dev")),
            ("", "mine", "main", Some("main")),
            ("", "", "main", Some("main")),
            ("", "", "", None),
        ] {
            let repository = repository(upstream, branch, default, &["dev", "main"]);
            assert_eq!(repository.branch_to_build(), expected);
        }
    }

    #[test]
    fn files_and_folders_of_the_commit_are_known() {
        let mut repository = Repository::default();
        assert!(repository.holds("anything"));
        repository.files = Some(
            ["a/b/c", "a-z", "d", "s/sub", "s/sub/"]
                .map(str::to_owned)
                .into(),
        );
        for present in [".", "a", "a/b", "a/b/c", "d", "s/sub", "s/sub/any/file"] {
            assert!(repository.holds(present), "{present}");
        }
        for missing in ["b", "a/c", "a/b/c/d", "a-"] {
            assert!(!repository.holds(missing), "{missing}");
        }
    }
}
