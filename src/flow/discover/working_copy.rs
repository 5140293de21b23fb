//! Reads one working copy: its remote, branches and the files of its commit.

use std::path::Path;

use walkdir::WalkDir;

use crate::client::git::{ConfiguredRemote, GitError, Head, Opened, WorkingCopy};
use crate::model::dockerfile::is_dockerfile;
use crate::model::init::{Repository, join_path};
use crate::model::source::{CommitId, GitUrl};

/// Maximum number of files to list.
const MAX_FILES: usize = 300_000;

/// Maximum depth of the search for uncommitted Dockerfiles.
const MAX_DEPTH: usize = 4;

/// Reads a working copy; `None` if the folder is not one.
pub(super) fn survey(root: &Path, dir: &str) -> Result<Option<Repository>, GitError> {
    let path = if dir == "." {
        root.to_owned()
    } else {
        root.join(dir)
    };
    let Opened::WorkingCopy(copy) = WorkingCopy::open(&path)? else {
        return Ok(None);
    };
    let mut repository = Repository {
        dir: dir.to_owned(),
        own_url: file_url(&path),
        ..Repository::default()
    };
    let (branch, head) = match copy.head()? {
        Head::Branch { name, commit } => (Some(name), Some(commit)),
        Head::Detached(commit) => (None, Some(commit)),
        Head::Unborn => (None, None),
    };
    repository.branch = branch;
    repository.has_commit = head.is_some();
    if let Some(remote) = usable_remote(&copy, &path, &mut repository) {
        repository.upstream = repository
            .branch
            .as_ref()
            .and_then(|branch| copy.tracked_branch(branch, &remote));
        repository.default_branch = copy.default_branch_of(&remote);
        repository.remote_branches = copy.branches_of(&remote);
        if let Some(branch) = repository.branch_to_build() {
            let name = format!("refs/remotes/{remote}/{branch}");
            let commit = copy.reference(&name).or(head);
            return with_files(&copy, commit, repository).map(Some);
        }
    }
    with_files(&copy, head, repository).map(Some)
}

/// Returns whether git ignores a path of a working copy.
pub(super) fn ignores(root: &Path, path: &str) -> bool {
    match WorkingCopy::open(root) {
        Ok(Opened::WorkingCopy(copy)) => copy.ignores(path),
        _ => false,
    }
}

/// Returns the remote of a working copy, without credentials, if it has one.
pub(super) fn remote(dir: &Path) -> Option<GitUrl> {
    let Ok(Opened::WorkingCopy(copy)) = WorkingCopy::open(dir) else {
        return None;
    };
    let remote = copy.configured_remotes().into_iter().next()?;
    Some(url_of(&remote, dir).ok()?.stripped())
}

/// Sets the remote and returns its name: `origin`, or the only one.
fn usable_remote(copy: &WorkingCopy, dir: &Path, repository: &mut Repository) -> Option<String> {
    let remotes = copy.configured_remotes();
    let chosen = match remotes.as_slice() {
        [first, ..] if first.name == "origin" => first,
        [only] => only,
        [] => return None,
        several => {
            let names: Vec<&str> = several.iter().map(|remote| remote.name.as_str()).collect();
            let remark = format!(
                "its remotes are {}, and none is named origin",
                names.join(", ")
            );
            repository.remote_remarks.push(remark);
            return None;
        }
    };
    match url_of(chosen, dir) {
        Ok(url) => {
            let stripped = url.stripped();
            if stripped != url {
                let remark = "the credentials in the working copy's URL were removed";
                repository.remote_remarks.push(remark.to_owned());
            }
            repository.remote = Some(stripped);
            Some(chosen.name.clone())
        }
        Err(reason) => {
            repository.remote_remarks.push(reason);
            None
        }
    }
}

/// Returns the URL of a remote; a path is relative to the working copy.
fn url_of(remote: &ConfiguredRemote, dir: &Path) -> Result<GitUrl, String> {
    let written = &remote.url;
    let is_path = written.starts_with("./") || written.starts_with("../");
    let url = if is_path {
        match dir.join(written).canonicalize() {
            Ok(path) => file_url(&path).parse(),
            Err(_) => written.parse(),
        }
    } else {
        written.parse::<GitUrl>()
    };
    // The error may quote the URL, which may contain credentials.
    url.map_err(|_| format!("the URL of its remote {} is not supported", remote.name))
}

fn with_files(
    copy: &WorkingCopy,
    commit: Option<CommitId>,
    mut repository: Repository,
) -> Result<Repository, GitError> {
    let Some(commit) = commit else {
        return Ok(repository);
    };
    repository.files = copy.list_files(commit, MAX_FILES)?;
    if let Some(files) = &repository.files
        && !files.iter().any(|file| is_dockerfile(file))
    {
        repository.new_dockerfiles = dockerfiles_on_disk(copy.dir());
    }
    Ok(repository)
}

/// Returns the Dockerfiles in the working copy, committed or not.
fn dockerfiles_on_disk(dir: &Path) -> Vec<String> {
    let entries = WalkDir::new(dir)
        .max_depth(MAX_DEPTH)
        .sort_by_file_name()
        .into_iter();
    let entries = entries.filter_entry(|entry| {
        let name = entry.file_name().to_string_lossy();
        let is_other = name.starts_with('.')
            || name == "node_modules"
            || entry.path().join(".git").symlink_metadata().is_ok();
        entry.depth() == 0 || !is_other
    });
    let files = entries.filter_map(Result::ok).filter_map(|entry| {
        let path = entry.path().strip_prefix(dir).ok()?.to_str()?;
        let path = join_path(".", path)?;
        (entry.file_type().is_file() && is_dockerfile(&path)).then_some(path)
    });
    files.collect()
}

/// Returns the `file://` URL of a local folder.
fn file_url(path: &Path) -> String {
    let mut url = "file://".to_owned();
    for byte in path.to_string_lossy().bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'_' | b'-' | b'~' | b'+' => {
                url.push(char::from(byte));
            }
            byte => url.push_str(&format!("%{byte:02X}")),
        }
    }
    url
}
