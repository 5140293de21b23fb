//! One working copy: where it comes from, and what its commit holds.

use std::path::Path;

use walkdir::WalkDir;

use crate::client::git::{ConfiguredRemote, GitError, Head, Opened, WorkingCopy};
use crate::init::{Repository, is_dockerfile, join_path};
use crate::source::{CommitId, GitUrl};

/// More files than these are not listed.
const MAX_FILES: usize = 300_000;

/// How deep Dockerfiles are looked for that no commit has yet.
const MAX_DEPTH: usize = 4;

/// Looks at a working copy; none where it is none after all.
pub(super) fn survey(root: &Path, dir: &str) -> Result<Option<Repository>, GitError> {
    let place = if dir == "." {
        root.to_owned()
    } else {
        root.join(dir)
    };
    let Opened::WorkingCopy(copy) = WorkingCopy::open(&place)? else {
        return Ok(None);
    };
    let mut repository = Repository {
        dir: dir.to_owned(),
        own_url: file_url(&place),
        ..Repository::default()
    };
    let (branch, head) = match copy.head()? {
        Head::Branch { name, commit } => (Some(name), Some(commit)),
        Head::Detached(commit) => (None, Some(commit)),
        Head::Unborn => (None, None),
    };
    repository.branch = branch;
    repository.has_commit = head.is_some();
    if let Some(remote) = usable_remote(&copy, &place, &mut repository) {
        repository.upstream = repository
            .branch
            .as_ref()
            .and_then(|branch| copy.tracked_branch(branch, &remote));
        repository.default_branch = copy.default_branch_of(&remote);
        repository.remote_branches = copy.branches_of(&remote);
        if let Some(branch) = repository.branch_to_build() {
            let name = format!("refs/remotes/{remote}/{branch}");
            let commit = copy.reference(&name).or(head);
            return finished(&copy, commit, repository).map(Some);
        }
    }
    finished(&copy, head, repository).map(Some)
}

/// Returns the remote of a working copy without credentials, as far as there is one.
pub(super) fn remote(dir: &Path) -> Option<GitUrl> {
    let Ok(Opened::WorkingCopy(copy)) = WorkingCopy::open(dir) else {
        return None;
    };
    let remote = copy.configured_remotes().into_iter().next()?;
    Some(url_of(&remote, dir).ok()?.stripped())
}

/// Sets the remote, and returns its name: `origin`, or the only one.
fn usable_remote(copy: &WorkingCopy, dir: &Path, repository: &mut Repository) -> Option<String> {
    let remotes = copy.configured_remotes();
    let chosen = match remotes.as_slice() {
        [first, ..] if first.name == "origin" => first,
        [only] => only,
        [] => return None,
        several => {
            let names: Vec<&str> = several.iter().map(|remote| remote.name.as_str()).collect();
            let remark = format!(
                "its remotes are {}, and none of them is origin",
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
                let remark = "the login in the working copy's URL is left out";
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

/// Returns the URL of a remote; a path starts from the working copy.
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
    // The error may quote the URL, and that may have a login.
    url.map_err(|_| {
        format!(
            "the URL of its remote {} is none that xp knows",
            remote.name
        )
    })
}

fn finished(
    copy: &WorkingCopy,
    commit: Option<CommitId>,
    mut repository: Repository,
) -> Result<Repository, GitError> {
    let Some(commit) = commit else {
        return Ok(repository);
    };
    repository.files = copy.files_of(commit, MAX_FILES)?;
    if let Some(files) = &repository.files
        && !files.iter().any(|file| is_dockerfile(file))
    {
        repository.new_dockerfiles = dockerfiles_on_disk(copy.dir());
    }
    Ok(repository)
}

/// Returns the Dockerfiles that are there, whether a commit has them or not.
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

/// Returns the URL of a folder of this machine.
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
