//! References of a remote as of the last fetch.

use crate::client::git::{GitClient, RemoteRefs, WorkingCopy};
use crate::model::source::{GitReference, GitUrl};

impl WorkingCopy {
    /// Returns the wanted references of a remote as of the last fetch.
    pub fn cached_refs(
        &self,
        client: &GitClient,
        url: &GitUrl,
        wanted: &[GitReference],
    ) -> RemoteRefs {
        let remote = self.remote_of(client, url);
        let mut refs = RemoteRefs::default();
        for name in wanted.iter().flat_map(GitReference::candidates) {
            let local = if name.starts_with("refs/tags/") {
                Some(name.clone())
            } else {
                self.local_name(remote.as_deref(), &name)
            };
            if let Some(commit) = local.and_then(|local| self.reference(&local)) {
                refs.insert(&name, commit, None);
            }
        }
        if let Some(remote) = &remote {
            self.add_default_branch(remote, &mut refs);
        }
        refs
    }

    /// Returns the local name of a remote's branch or other reference.
    fn local_name(&self, remote: Option<&str>, name: &str) -> Option<String> {
        let branch = name.strip_prefix("refs/heads/");
        match (remote, branch) {
            (Some(remote), branch) => self
                .tracking_reference(remote, name)
                .or_else(|| branch.map(|branch| format!("refs/remotes/{remote}/{branch}"))),
            // If no configured remote has this URL, xp fetches into its own namespace.
            (None, Some(branch)) => Some(format!("refs/xp/remotes/{branch}")),
            (None, None) => None,
        }
    }

    /// Adds the target of `refs/remotes/<remote>/HEAD`, as set by `git clone`.
    fn add_default_branch(&self, remote: &str, refs: &mut RemoteRefs) {
        let name = format!("refs/remotes/{remote}/HEAD");
        let Ok(head) = self.repository.find_reference(&name) else {
            return;
        };
        let target = head.symbolic_target().ok().flatten();
        let branch =
            target.and_then(|target| target.strip_prefix(&format!("refs/remotes/{remote}/")));
        if let (Some(branch), Some(commit)) = (branch, self.reference(&name)) {
            refs.insert("HEAD", commit, None);
            refs.set_head(&format!("refs/heads/{branch}"));
        }
    }
}
