//! A repository that services are built from: cloned here, or only mentioned in a tool file.

use super::draft::{DraftKey, DraftService};
use super::folder::Repository;
use super::path;
use super::project::Project;
use crate::model::source::{CommitId, GitReference, GitUrl};

/// A repository that services are built from.
#[derive(Clone)]
pub(super) struct SourceRepo<'f> {
    /// The folder of the working copy, relative to the platform's folder.
    pub dir: String,
    /// The working copy, if it exists.
    pub local: Option<&'f Repository>,
    /// Its entry in a tool file.
    project: Option<Project>,
    /// Whether it becomes a service even if no tool file builds from it.
    pub is_wanted: bool,
}

impl<'f> SourceRepo<'f> {
    /// A working copy that no tool file mentions.
    pub fn local(repository: &'f Repository) -> Self {
        Self {
            dir: repository.dir.clone(),
            local: Some(repository),
            project: None,
            is_wanted: true,
        }
    }

    /// A repository listed in a tool file.
    pub fn of_project(project: Project, local: Option<&'f Repository>) -> Self {
        Self {
            dir: project.dir.clone(),
            local,
            project: Some(project),
            is_wanted: true,
        }
    }

    /// A remote without a working copy.
    pub fn remote_only(dir: String, remote: &str, reference: Option<String>) -> Self {
        let project = Project {
            dir,
            remote: Some(remote.to_owned()),
            reference,
            ..Project::default()
        };
        Self {
            is_wanted: false,
            ..Self::of_project(project, None)
        }
    }

    /// Returns the URL of the remote, if known; it may contain credentials.
    pub fn url(&self) -> Option<&str> {
        let named = self
            .project
            .as_ref()
            .and_then(|project| project.remote.as_deref());
        named.or_else(|| Some(self.local?.remote.as_ref()?.expose()))
    }

    /// Returns its name: that of its folder or, for the platform's own repository, of its remote.
    pub fn name(&self, folder: &str) -> String {
        if self.dir != "." {
            return path::last(&self.dir).to_owned();
        }
        let of_remote = self.url().map(|url| {
            let last = path::last(url.trim_end_matches('/'));
            last.strip_suffix(".git").unwrap_or(last).to_owned()
        });
        of_remote.unwrap_or_else(|| folder.to_owned())
    }

    /// Returns its name for comments.
    pub fn shown(&self, folder: &str) -> String {
        match self.dir.as_str() {
            "." => self.name(folder),
            dir => dir.to_owned(),
        }
    }

    /// Fills in a service's `git`; on failure, returns the reason.
    pub fn fill(&self, service: &mut DraftService) -> Result<(), String> {
        let project = self.project.as_ref();
        for todo in project.into_iter().flat_map(|project| &project.todos) {
            service.todo(DraftKey::Remote, todo);
        }
        for remark in project.into_iter().flat_map(|project| &project.remarks) {
            service.remark(DraftKey::Reference, remark);
        }
        let named = project.and_then(|project| project.remote.as_deref());
        match (named.map(str::parse::<GitUrl>), self.local) {
            (Some(Ok(url)), _) => {
                if url.stripped() != url {
                    service.remark(DraftKey::Remote, "the credentials in the URL were removed");
                }
                service.remote = url.stripped().expose().to_owned();
                self.reference(service);
            }
            (_, Some(local)) => {
                if let Some(Err(error)) = named.map(str::parse::<GitUrl>) {
                    service.todo(DraftKey::Remote, error.to_string());
                }
                self.local_remote(service, local);
            }
            (Some(Err(error)), None) => return Err(error.to_string()),
            (None, None) => {
                let todos = project.map(|project| project.todos.join("; "));
                return Err(todos.unwrap_or_else(|| "its remote is unknown".to_owned()));
            }
        }
        let has_submodules = self
            .local
            .and_then(|local| local.files.as_ref())
            .is_some_and(|files| files.contains(".gitmodules"));
        service.submodules = has_submodules || project.is_some_and(|project| project.submodules);
        Ok(())
    }

    fn local_remote(&self, service: &mut DraftService, local: &Repository) {
        for remark in &local.remote_remarks {
            service.remark(DraftKey::Remote, remark);
        }
        match &local.remote {
            Some(remote) if local.is_published() => {
                service.remote = remote.expose().to_owned();
                self.reference(service);
                return;
            }
            Some(remote) => service.todo(
                DraftKey::Remote,
                format!(
                    "nothing was fetched from {remote}, so this is the working copy itself: push it, and enter its remote here"
                ),
            ),
            None => service.todo(
                DraftKey::Remote,
                "it has no remote, so this is the working copy itself: push it, and enter its remote here",
            ),
        }
        service.remote = local.own_url.clone();
        service.reference = local
            .branch
            .as_ref()
            .map(|branch| format!("origin/{branch}"));
    }

    fn has_this_remote(&self, local: &Repository) -> bool {
        let own = local.remote.as_ref().map(GitUrl::expose);
        own.zip(self.url())
            .is_some_and(|(own, named)| same_remote(own, named))
    }

    fn reference(&self, service: &mut DraftService) {
        let named = self
            .project
            .as_ref()
            .and_then(|project| project.reference.as_deref());
        let (reference, todo) = match (named, self.local) {
            (Some(named), local) => {
                let branches = local.map_or(&[][..], |local| &local.remote_branches);
                named_reference(named, branches)
            }
            // The branches of another remote, such as a fork, may not exist on this one.
            (None, Some(local)) if self.has_this_remote(local) => tracked_reference(local),
            (None, _) => (None, None),
        };
        service.reference = reference;
        if let Some(todo) = todo {
            service.todo(DraftKey::Reference, todo);
        }
    }
}

/// Converts a revision of a tool file to a reference, with a to-do if needed.
fn named_reference(named: &str, branches: &[String]) -> (Option<String>, Option<String>) {
    let is_hexadecimal = named.chars().all(|c| c.is_ascii_hexdigit());
    if named.parse::<CommitId>().is_ok() || named.starts_with("refs/tags/") {
        return (Some(named.to_owned()), None);
    }
    if is_hexadecimal
        && (7..40).contains(&named.len())
        && !branches.iter().any(|name| name == named)
    {
        let todo = format!("the commit {named} is abbreviated: write all 40 digits");
        return (None, Some(todo));
    }
    let branch = named.strip_prefix("refs/heads/");
    let branch = branch.or_else(|| branches.iter().any(|name| name == named).then_some(named));
    let reference = branch.map_or_else(|| named.to_owned(), |branch| format!("origin/{branch}"));
    match reference.parse::<GitReference>() {
        Ok(_) => (Some(reference), None),
        Err(error) => (None, Some(error.to_string())),
    }
}

/// Returns the branch to build of a working copy, with a to-do if it is not the default branch.
fn tracked_reference(local: &Repository) -> (Option<String>, Option<String>) {
    let Some(branch) = local.branch_to_build() else {
        return (None, None);
    };
    let todo = local
        .default_branch
        .as_deref()
        .filter(|default| *default != branch)
        .map(|default| {
            format!("this is the branch checked out here; the remote's default branch is {default}")
        });
    (Some(format!("origin/{branch}")), todo)
}

/// Returns whether two URLs are equal, ignoring credentials and a trailing `.git` or `/`.
pub(super) fn same_remote(one: &str, other: &str) -> bool {
    normalized(one) == normalized(other)
}

/// Returns a URL without credentials and a trailing `.git` or `/`, for comparison.
pub(super) fn normalized(url: &str) -> String {
    let stripped = url
        .parse::<GitUrl>()
        .map(|url| url.stripped().expose().to_owned());
    let url = stripped.unwrap_or_else(|_| url.to_owned());
    let url = url.trim_end_matches('/');
    url.strip_suffix(".git").unwrap_or(url).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn revisions_become_references() {
        let branches = ["main".to_owned(), "cafe123".to_owned()];
        let commit = "0123456789012345678901234567890123456789";
        for (named, expected) in [
            ("main", Some("origin/main")),
            ("v1.2", Some("v1.2")),
            ("refs/heads/x", Some("origin/x")),
            ("refs/tags/v1", Some("refs/tags/v1")),
            (commit, Some(commit)),
            ("cafe123", Some("origin/cafe123")),
            ("beef123", None),
            // Git's own rule: `refs/pull/7/head`, and only then a branch.
            ("pull/7/head", Some("pull/7/head")),
            ("feature/x", Some("feature/x")),
            ("a..b", None),
        ] {
            let (reference, todo) = named_reference(named, &branches);
            assert_eq!(reference.as_deref(), expected, "{named}");
            assert_eq!(todo.is_some(), expected.is_none(), "{named}");
        }
    }

    #[test]
    fn remotes_are_compared_without_credentials() {
        assert!(same_remote("https://bob:x@h/a.git", "https://h/a/"));
        assert!(!same_remote("https://h/a", "https://h/b"));
    }
}
