//! What a process that was killed leaves in a repository: locks, and files that were only begun.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use git2::Repository;
use walkdir::WalkDir;

/// What libgit2 has in the names of files that it has not finished.
const UNFINISHED: &str = "_git2_";

/// Within that time after xp went to work a lock is taken for its own, where other programs are not to be seen.
const SOON: Duration = Duration::from_secs(60);

/// What a container has at its top: there the processes of the host are not to be seen.
const MARKS_OF_CONTAINERS: [&str; 2] = ["/.dockerenv", "/run/.containerenv"];

/// Removes what was begun in a working copy since xp was last at work there, and was killed.
///
/// Returns false where locks stay: those of other programs look the same, so that none is removed while a
/// program is at work there, nor where that cannot be told.
pub fn remove_leftovers(dir: &Path, since: SystemTime) -> bool {
    let Ok(repository) = Repository::open(dir) else {
        return true;
    };
    let (own, common) = (repository.path(), repository.commondir());
    // Mostly both are the same folder.
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
    // Git holds all others for a moment only, but this one for as long as a person writes a message, maybe
    // where this process does not see it.
    let may_be_held = |path: &Path| {
        path.ends_with("index.lock") && is_in_container() && is_since(path, since + SOON)
    };
    // One that cannot be removed is named by what it stops.
    found
        .iter()
        .all(|path| !may_be_held(path) && fs::remove_file(path).is_ok())
}

/// Removes what was begun in a repository of xp's own, which nobody else works in now.
pub(super) fn remove_own_leftovers(git_dir: &Path) {
    for path in leftovers(git_dir) {
        _ = fs::remove_file(path);
    }
}

/// Returns the locks, and the objects that were only begun, below a git directory.
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
    MARKS_OF_CONTAINERS.iter().any(|it| Path::new(it).exists())
}

/// Tells whether another process may be at work in one of these folders: git itself, or a program that has a
/// file of them open.
fn is_in_use(folders: &[&Path]) -> bool {
    let is_in = |place: &Path| folders.iter().any(|folder| place.starts_with(folder));
    // Elsewhere than on Linux it cannot be told.
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
        let place = fs::read_link(path.join("cwd"));
        let may_be_there = match place {
            Ok(place) => is_in(&place),
            // Another user's; one that has just ended has no place at all.
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

    const BEGUN: [&str; 4] = [
        "packed-refs.lock",
        "refs/remotes/origin/master.lock",
        "refs/heads/x_git2_a1b2c3",
        "objects/pack/pack_git2_a1b2c3",
    ];

    #[test]
    fn what_was_begun_is_removed_and_nothing_else() {
        let (folder, git_dir) = repository();
        let since = SystemTime::now() - Duration::from_secs(5);
        let kept = ["refs/heads/master", "objects/pack/pack-1.pack", "notes"];
        for name in BEGUN.iter().chain(&kept) {
            fs::write(git_dir.join(name), "x").unwrap();
        }
        fs::write(folder.path().join("yarn.lock"), "x").unwrap();
        assert!(remove_leftovers(folder.path(), since));
        assert!(BEGUN.iter().all(|name| !git_dir.join(name).exists()));
        assert!(kept.iter().all(|name| git_dir.join(name).exists()));
        assert!(folder.path().join("yarn.lock").exists());
    }

    #[test]
    fn what_was_there_before_stays() {
        let (folder, git_dir) = repository();
        fs::write(git_dir.join("index.lock"), "").unwrap();
        let since = SystemTime::now() + Duration::from_secs(5);
        assert!(remove_leftovers(folder.path(), since));
        assert!(git_dir.join("index.lock").exists());
    }

    #[test]
    fn nothing_is_removed_under_a_program_at_work() {
        let (folder, git_dir) = repository();
        let lock = fs::File::create(git_dir.join("index.lock")).unwrap();
        let mut other = std::process::Command::new("sleep");
        let mut other = other.arg("100").stdin(lock).spawn().unwrap();
        let is_removed = remove_leftovers(folder.path(), SystemTime::UNIX_EPOCH);
        _ = other.kill();
        _ = other.wait();
        assert!(!is_removed && git_dir.join("index.lock").exists());
    }
}
