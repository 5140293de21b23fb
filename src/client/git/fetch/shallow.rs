//! Shallow clones.

use std::collections::HashSet;
use std::fs;

use git2::{Oid, Repository};

use crate::client::git::fetch::update::{Depth, Fetch, Tags};
use crate::client::git::progress::OperationContext;
use crate::client::git::{GitClient, GitError, WorkingCopy};
use crate::model::source::{GitScheme, GitUrl};

/// Returns the boundary commits of a shallow clone, which lack their parents.
pub fn boundary(repository: &Repository) -> HashSet<Oid> {
    let text = fs::read_to_string(repository.commondir().join("shallow")).unwrap_or_default();
    text.lines()
        .filter_map(|line| Oid::from_str(line.trim()).ok())
        .collect()
}

impl WorkingCopy {
    /// Returns whether it is a shallow clone.
    pub fn is_shallow(&self) -> bool {
        !boundary(&self.repository).is_empty()
    }

    /// Fetches the rest of a shallow clone's history, like `git fetch --unshallow`.
    ///
    /// # Errors
    ///
    /// As for [`WorkingCopy::fetch`]; always fails for a remote on this machine, because libgit2's local
    /// transport does not support it.
    pub fn unshallow(
        &self,
        client: &GitClient,
        url: &GitUrl,
        refspecs: &[String],
        watch: &OperationContext<'_>,
    ) -> Result<(), GitError> {
        let hint = || {
            format!(
                "`git -C {} fetch --unshallow` fetches the rest",
                self.dir.display()
            )
        };
        if client.effective_url(url).scheme() == GitScheme::File {
            let what = format!("{} is a shallow clone", self.dir.display());
            return Err(
                GitError::new(crate::client::git::GitErrorKind::Local, what).with_hint(hint())
            );
        }
        let fetch = Fetch {
            url,
            refspecs,
            tags: Tags::None,
            prune: false,
            depth: Depth::Whole,
        };
        self.fetch(client, &fetch, watch)?;
        if self.is_shallow() {
            let what = format!("{} is still a shallow clone", self.dir.display());
            return Err(
                GitError::new(crate::client::git::GitErrorKind::Local, what).with_hint(hint())
            );
        }
        Ok(())
    }
}
