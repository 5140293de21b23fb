//! The commit that has a file of the platform's repository.

use std::path::Path;

use git2::{Repository, Status};

use crate::model::source::CommitId;

/// A file, and the commit that is checked out around it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileCommit {
    pub commit: CommitId,
    /// The path in the repository.
    pub path: String,
    /// Whether the commit does not have it, or has another content.
    pub is_modified: bool,
    /// The URL of `origin`, or of the first remote, as configured; it may contain a password.
    pub url: Option<String>,
}

/// Returns `HEAD` of the working copy that contains a file; `None` without a repository or commit.
pub fn file_commit(file: &Path) -> Option<FileCommit> {
    let folder = file.parent()?.canonicalize().ok()?;
    let repository = Repository::discover(&folder).ok()?;
    let top = repository.workdir()?.canonicalize().ok()?;
    let path = folder.strip_prefix(&top).ok()?.join(file.file_name()?);
    let commit = repository.head().ok()?.peel_to_commit().ok()?.id();
    let status = repository.status_file(&path);
    let config = repository.config().and_then(|mut it| it.snapshot()).ok();
    let names = repository.remotes().ok();
    let names = names.iter().flat_map(|names| names.iter());
    let names = names.filter_map(|name| name.ok().flatten());
    let mut names: Vec<&str> = names.collect();
    names.sort_by_key(|name| *name != "origin");
    let url = names.first().and_then(|name| {
        let key = format!("remote.{name}.url");
        config.as_ref()?.get_string(&key).ok()
    });
    Some(FileCommit {
        commit: commit.into(),
        path: path.to_str()?.to_owned(),
        is_modified: !status.is_ok_and(|status| status == Status::CURRENT),
        url,
    })
}
