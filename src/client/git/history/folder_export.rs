//! A folder of a repository as of a commit.

use std::fs;
use std::path::{Component, Path, PathBuf};

use git2::{AttrCheckFlags, AttrValue, ObjectType, Repository, Tree};

use crate::client::git::GitError;
use crate::client::git::worktree::status::{Scope, Untracked, differences};
use crate::client::git::worktree::working_copy::oid;
use crate::model::source::CommitId;

/// The checked-out commit of a folder's repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckedOutCommit {
    /// The commit.
    pub commit: CommitId,
    /// Whether any of the given files differs from the commit.
    pub is_changed: bool,
}

/// Returns the commit that is checked out in the repository of a folder, and whether the given files and
/// folders below it differ; `None` if the folder is not in a repository or the repository has no commits.
pub fn checked_out(folder: &Path, files: &[PathBuf]) -> Option<CheckedOutCommit> {
    let (repository, below) = repository(folder)?;
    let commit = repository.head().ok()?.peel_to_commit().ok()?.id();
    let paths: Vec<String> = files
        .iter()
        .map(|file| {
            without_cur_dir(&below.join(file))
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    // An empty path means the whole repository, but libgit2 matches nothing with it; no paths match everything.
    let is_whole = paths.iter().any(String::is_empty);
    let scope = Scope {
        below: if is_whole { &[] } else { &paths },
        untracked: Untracked::Files,
        submodules: true,
    };
    let is_changed = match differences(&repository, scope) {
        Ok(differences) => !differences.is_empty(),
        // If they cannot be compared, assume a change.
        Err(_) => true,
    };
    Some(CheckedOutCommit {
        commit: commit.into(),
        is_changed,
    })
}

/// Returns a path without `.`.
fn without_cur_dir(path: &Path) -> PathBuf {
    let parts = path.components();
    parts.filter(|part| *part != Component::CurDir).collect()
}

/// The first bytes of blobs that need a filter program to get the file.
const FILTERED: [&[u8]; 2] = [b"\0GITCRYPT", b"version https://git-lfs.github.com/spec/"];

/// Writes a folder as of a commit to another path, without symlinks. Returns false if the commit or the
/// folder in it does not exist, or if a file in it is made by a filter program: it may be encrypted, or in Git LFS.
///
/// # Errors
///
/// A file cannot be written, or an object cannot be read.
pub fn write_folder_at(folder: &Path, commit: CommitId, to: &Path) -> Result<bool, GitError> {
    let Some((repository, below)) = repository(folder) else {
        return Ok(false);
    };
    let found = oid(commit).and_then(|id| repository.find_commit(id));
    let Ok(tree) = found.and_then(|commit| commit.tree()) else {
        return Ok(false);
    };
    let tree = if below.as_os_str().is_empty() {
        tree
    } else {
        let entry = tree.get_path(&below);
        let object = entry.and_then(|entry| entry.to_object(&repository));
        match object.and_then(|object| object.peel_to_tree()) {
            Ok(tree) => tree,
            Err(_) => return Ok(false),
        }
    };
    write(&repository, &tree, &below, to)
}

/// Writes the folder `below` of a repository.
fn write(
    repository: &Repository,
    tree: &Tree<'_>,
    below: &Path,
    to: &Path,
) -> Result<bool, GitError> {
    let cannot_write = |path: &Path| {
        let path = path.to_owned();
        move |cause| GitError::file(format!("cannot write {}", path.display()), cause)
    };
    fs::create_dir_all(to).map_err(cannot_write(to))?;
    for entry in tree {
        // git rejects such names, and names that are not UTF-8 cannot be used here.
        let Some(name) = entry.name().ok().filter(|name| *name != "..") else {
            continue;
        };
        let path = to.join(name);
        let read = |cause| GitError::local(format!("cannot read {name} from a commit"), cause);
        match entry.kind() {
            Some(ObjectType::Tree) => {
                let tree = repository.find_tree(entry.id()).map_err(read)?;
                if !write(repository, &tree, &below.join(name), &path)? {
                    return Ok(false);
                }
            }
            // A symlink could point anywhere.
            Some(ObjectType::Blob) if entry.filemode() != 0o120_000 => {
                let blob = repository.find_blob(entry.id()).map_err(read)?;
                let is_filtered = has_filter(repository, &below.join(name));
                if is_filtered || FILTERED.iter().any(|it| blob.content().starts_with(it)) {
                    return Ok(false);
                }
                fs::write(&path, blob.content()).map_err(cannot_write(&path))?;
            }
            _ => {}
        }
    }
    Ok(true)
}

/// Returns whether a filter program makes the file of a blob.
fn has_filter(repository: &Repository, path: &Path) -> bool {
    let filter = repository.get_attr(path, "filter", AttrCheckFlags::default());
    let AttrValue::String(name) = AttrValue::from_string(filter.ok().flatten()) else {
        return false;
    };
    let Ok(configuration) = repository.config() else {
        return true;
    };
    let programs = ["smudge", "process"].map(|kind| format!("filter.{name}.{kind}"));
    let mut programs = programs.iter();
    programs.any(|key| configuration.get_entry(key).is_ok())
}

/// Returns the repository of a folder, and the folder's path in it. The folder need not exist.
fn repository(folder: &Path) -> Option<(Repository, PathBuf)> {
    let existing = folder.ancestors().find(|folder| folder.is_dir())?;
    let repository = Repository::discover(existing).ok()?;
    let top = repository.workdir()?.canonicalize().ok()?;
    let missing = folder.strip_prefix(existing).ok()?.to_owned();
    let real = existing.canonicalize().ok()?.join(missing);
    let below = real.strip_prefix(&top).ok()?.to_owned();
    Some((repository, below))
}

#[cfg(test)]
mod tests {
    use git2::Signature;

    use super::*;

    #[test]
    fn folders_are_written_as_committed() {
        let folder = tempfile::tempdir().unwrap();
        let top = folder.path();
        let repository = Repository::init(top).unwrap();
        assert_eq!(checked_out(top, &[]), None);
        let files = |text: &str| {
            fs::create_dir_all(top.join("k8s/base")).unwrap();
            fs::write(top.join("k8s/base/a.yaml"), text).unwrap();
            fs::write(top.join("other"), text).unwrap();
        };
        files("one");
        let mut index = repository.index().unwrap();
        index
            .add_all(["*"], git2::IndexAddOption::DEFAULT, None)
            .unwrap();
        let tree = repository.find_tree(index.write_tree().unwrap()).unwrap();
        index.write().unwrap();
        let who = Signature::now("a", "a@example.com").unwrap();
        let commit = repository.commit(Some("HEAD"), &who, &who, "1", &tree, &[]);
        let commit: CommitId = commit.unwrap().into();

        let paths = [PathBuf::from("k8s")];
        let now = |is_changed| Some(CheckedOutCommit { commit, is_changed });
        assert_eq!(checked_out(top, &paths), now(false));
        fs::write(top.join("other"), "two").unwrap();
        assert_eq!(checked_out(top, &paths), now(false));
        fs::write(top.join("k8s/new.yaml"), "two").unwrap();
        assert_eq!(checked_out(top, &paths), now(true));
        assert_eq!(checked_out(top, &[PathBuf::from(".")]), now(true));
        assert_eq!(
            checked_out(&top.join("k8s"), &[PathBuf::from(".")]),
            now(true)
        );
        fs::remove_file(top.join("k8s/new.yaml")).unwrap();
        assert_eq!(
            checked_out(&top.join("k8s"), &[PathBuf::from(".")]),
            now(false)
        );
        fs::write(top.join("other"), "one").unwrap();
        assert_eq!(checked_out(top, &[PathBuf::from(".")]), now(false));

        fs::remove_dir_all(top.join("k8s")).unwrap();
        let to = folder.path().join("copy");
        assert!(write_folder_at(&top.join("k8s"), commit, &to).unwrap());
        assert_eq!(fs::read_to_string(to.join("base/a.yaml")).unwrap(), "one");
        assert!(!to.join("other").exists());
        let unknown = "1".repeat(40).parse().unwrap();
        assert!(!write_folder_at(&top.join("k8s"), unknown, &to).unwrap());
        assert!(!write_folder_at(&top.join("none"), commit, &to).unwrap());
    }

    #[test]
    fn filtered_files_are_not_written() {
        for text in [
            &b"\0GITCRYPT\0x"[..],
            b"version https://git-lfs.github.com/spec/v1\n",
        ] {
            let folder = tempfile::tempdir().unwrap();
            let repository = Repository::init(folder.path()).unwrap();
            fs::create_dir_all(folder.path().join("k8s/base")).unwrap();
            fs::write(folder.path().join("k8s/base/secret.env"), text).unwrap();
            let mut index = repository.index().unwrap();
            index
                .add_all(["*"], git2::IndexAddOption::DEFAULT, None)
                .unwrap();
            let tree = repository.find_tree(index.write_tree().unwrap()).unwrap();
            let who = Signature::now("a", "a@example.com").unwrap();
            let commit = repository.commit(Some("HEAD"), &who, &who, "1", &tree, &[]);
            let to = folder.path().join("copy");
            let written = write_folder_at(&folder.path().join("k8s"), commit.unwrap().into(), &to);
            assert!(!written.unwrap());
        }
    }
}
