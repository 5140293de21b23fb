//! The folder of a test run.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::server;

const PREFIX: &str = "xp-test-";
const TESTS: &str = "tests";
const LOCK: &str = "lock";

/// The folder of a test run. Only the folders of failed tests are kept.
pub struct Folder {
    path: PathBuf,
    /// Locked while the process runs, to distinguish folders in use from leftovers.
    _lock: File,
}

impl Folder {
    /// Creates the folder, after removing those of killed test runs.
    pub fn new() -> Self {
        let parent = std::env::temp_dir();
        remove_leftovers(&parent);
        // The name is short because the length of socket paths is limited.
        let path = parent.join(super::run_prefix());
        fs::create_dir_all(path.join(TESTS)).expect("a folder for the test world");
        let lock = File::create(path.join(LOCK)).expect("the world's lock");
        lock.lock().expect("the world's lock");
        Self { path, _lock: lock }
    }

    /// Returns the path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the parent of the test folders.
    pub fn tests(&self) -> PathBuf {
        self.path.join(TESTS)
    }

    /// Deletes everything except the folders of failed tests.
    pub fn remove(&self) {
        remove_all_but_tests(&self.path);
    }
}

fn remove_leftovers(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else {
        return;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        // Without a lock it is either being created or contains only failed tests.
        if entry.file_name().to_string_lossy().starts_with(PREFIX)
            && let Ok(lock) = File::open(path.join(LOCK))
            && lock.try_lock().is_ok()
        {
            for server in fs::read_dir(&path).into_iter().flatten().flatten() {
                if server.file_name().to_string_lossy().starts_with("engine") {
                    let _ = Command::new(server::PROGRAM)
                        .arg("clean")
                        .arg(server.path())
                        .status();
                }
            }
            remove_all_but_tests(&path);
        }
    }
}

fn remove_all_but_tests(path: &Path) {
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        if entry.file_name() == TESTS {
            continue;
        }
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let removed = match is_folder {
            true => fs::remove_dir_all(entry.path()),
            false => fs::remove_file(entry.path()),
        };
        if let Err(error) = removed {
            eprintln!("{}: {error}", entry.path().display());
        }
    }
    // Both fail if the folder of a failed test is left, which is kept.
    let _ = fs::remove_dir(path.join(TESTS));
    let _ = fs::remove_dir(path);
}
