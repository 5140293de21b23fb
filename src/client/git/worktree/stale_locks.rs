//! Removes what a killed process leaves in a repository: lock files and unfinished files.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use git2::Repository;
use walkdir::WalkDir;

/// Part of the names of libgit2's temporary files.
const UNFINISHED: &str = "_git2_";

/// A lock created within this time after xp started is assumed to be its own if other processes are not
/// visible.
const STARTUP_WINDOW: Duration = Duration::from_secs(60);

/// Files that exist only in containers, where the host's processes are not visible.
const CONTAINER_MARKERS: [&str; 2] = ["/.dockerenv", "/run/.containerenv"];

/// Removes lock files and unfinished files that are newer than the start of an xp that was killed.
///
/// Returns false if locks remain: those of other programs look the same, so none is removed while a program
/// uses the repository or if that cannot be determined.
pub fn remove_stale_locks(dir: &Path, since: SystemTime) -> bool {
    let Ok(repository) = Repository::open(dir) else {
        return true;
    };
    let (own, common) = (repository.path(), repository.commondir());
    // The two folders differ only in linked worktrees.
    let found: BTreeSet<PathBuf> = leftovers(own)
        .chain(leftovers(common))
        .filter(|path| is_since(path, since))
        .collect();
    if found.is_empty() {
        return true;
    }
    if is_in_use(&[dir, own, common]) {
        return false;
    }
    // Git holds the other locks only briefly, but this one while the user edits a commit message, possibly in
    // a process that is not visible here.
    let may_be_held = |path: &Path| {
        path.ends_with("index.lock") && is_in_container() && is_since(path, since + STARTUP_WINDOW)
    };
    // If a lock cannot be removed, the operation that it blocks reports it.
    found
        .iter()
        .all(|path| !may_be_held(path) && fs::remove_file(path).is_ok())
}

/// Removes lock files and unfinished files in one of xp's own repositories, which no other process may use.
pub fn remove_own_leftovers(git_dir: &Path) {
    for path in leftovers(git_dir) {
        _ = fs::remove_file(path);
    }
}

/// Returns the lock files and unfinished files below a git directory.
fn leftovers(git_dir: &Path) -> impl Iterator<Item = PathBuf> {
    let is_lock = |name: &OsStr| name.as_bytes().ends_with(b".lock");
    let is_unfinished = |name: &OsStr| name.to_string_lossy().contains(UNFINISHED);
    let files = |folder: PathBuf, depth| {
        let entries = WalkDir::new(folder).max_depth(depth).into_iter().flatten();
        entries.filter(|entry| entry.file_type().is_file())
    };
    let at_top = files(git_dir.to_owned(), 1);
    let of_references = files(git_dir.join("refs"), usize::MAX);
    let locks = at_top.chain(of_references);
    let locks =
        locks.filter(move |entry| is_lock(entry.file_name()) || is_unfinished(entry.file_name()));
    let objects = files(git_dir.join("objects"), 2);
    let objects = objects.filter(move |entry| is_unfinished(entry.file_name()));
    locks.chain(objects).map(walkdir::DirEntry::into_path)
}

fn is_since(path: &Path, since: SystemTime) -> bool {
    let modified = path.symlink_metadata().and_then(|it| it.modified());
    modified.is_ok_and(|modified| modified >= since)
}

fn is_in_container() -> bool {
    CONTAINER_MARKERS.iter().any(|it| Path::new(it).exists())
}

/// Returns whether another process may be using one of these folders: a git process, or one with an open file
/// in `.git`.
fn is_in_use(folders: &[&Path]) -> bool {
    let is_in = |path: &Path| folders.iter().any(|folder| path.starts_with(folder));
    // Without /proc (not Linux), assume that one is.
    let Ok(processes) = fs::read_dir("/proc") else {
        return true;
    };
    let own = std::process::id().to_string();
    for process in processes.flatten() {
        let name = process.file_name();
        let is_process = name.as_bytes().iter().all(u8::is_ascii_digit);
        if !is_process || name == *own {
            continue;
        }
        let path = process.path();
        let program = fs::read_to_string(path.join("comm")).unwrap_or_default();
        let current = fs::read_link(path.join("cwd"));
        let may_be_there = match current {
            Ok(current) => is_in(&current),
            // The process of another user. For one that has just exited, the error is a different one.
            Err(error) => error.kind() == io::ErrorKind::PermissionDenied,
        };
        if program.starts_with("git") && may_be_there {
            return true;
        }
        let open = fs::read_dir(path.join("fd")).into_iter().flatten();
        let mut open = open
            .flatten()
            .filter_map(|file| fs::read_link(file.path()).ok());
        if open.any(|file| is_in(&file) && file.components().any(|it| it.as_os_str() == ".git")) {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repository() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        Repository::init(folder.path()).unwrap();
        let git_dir = folder.path().join(".git");
        fs::create_dir_all(git_dir.join("refs/remotes/origin")).unwrap();
        (folder, git_dir)
    }

    const STALE: [&str; 4] = [
        "packed-refs.lock",
        "refs/remotes/origin/master.lock",
        "refs/heads/x_git2_a1b2c3",
        "objects/pack/pack_git2_a1b2c3",
    ];

    #[test]
    fn only_stale_files_are_removed() {
        let (folder, git_dir) = repository();
        let since = SystemTime::now() - Duration::from_secs(5);
        let kept = ["refs/heads/master", "objects/pack/pack-1.pack", "notes"];
        for name in STALE.iter().chain(&kept) {
            fs::write(git_dir.join(name), "x").unwrap();
        }
        fs::write(folder.path().join("yarn.lock"), "x").unwrap();
        assert!(remove_stale_locks(folder.path(), since));
        assert!(STALE.iter().all(|name| !git_dir.join(name).exists()));
        assert!(kept.iter().all(|name| git_dir.join(name).exists()));
        assert!(folder.path().join("yarn.lock").exists());
    }

    #[test]
    fn older_locks_are_kept() {
        let (folder, git_dir) = repository();
        fs::write(git_dir.join("index.lock"), "").unwrap();
        let since = SystemTime::now() + Duration::from_secs(5);
        assert!(remove_stale_locks(folder.path(), since));
        assert!(git_dir.join("index.lock").exists());
    }

    #[test]
    fn nothing_is_removed_while_a_program_uses_the_repository() {
        let (folder, git_dir) = repository();
        let lock = fs::File::create(git_dir.join("index.lock")).unwrap();
        let mut other = std::process::Command::new("sleep");
        let mut other = other.arg("100").stdin(lock).spawn().unwrap();
        let is_removed = remove_stale_locks(folder.path(), SystemTime::UNIX_EPOCH);
        _ = other.kill();
        _ = other.wait();
        assert!(!is_removed && git_dir.join("index.lock").exists());
    }
}
