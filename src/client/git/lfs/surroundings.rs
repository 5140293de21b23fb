//! What the `git-lfs` program gets to see: its variables, and the folder that keeps its files.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use tokio::process::Command;

use super::filter::Files;
use crate::client::git::{GitClient, GitError};
use crate::source::GitScheme;

/// Where `git-lfs` finds the folder that keeps its files; removed when it is dropped.
///
/// The setting `lfs.storage` would be taken for that of a remote on this machine, too. And of a
/// failure `git-lfs` writes a log with all variables and URLs, passwords included: it is not kept.
pub(super) struct Storage(PathBuf);

impl Storage {
    pub(super) fn link(files: &Files<'_>) -> Result<Self, GitError> {
        let storage = Self(files.git_dir.join("lfs"));
        let linked = || -> io::Result<()> {
            fs::create_dir_all(&storage.0)?;
            for name in ["objects", "tmp", "incomplete"] {
                let kept = absolute(files.storage).join(name);
                fs::create_dir_all(&kept)?;
                symlink(kept, storage.0.join(name))?;
            }
            Ok(())
        };
        linked().map_err(|cause| {
            GitError::file(format!("cannot write {}", files.storage.display()), cause)
        })?;
        Ok(storage)
    }
}

impl Drop for Storage {
    fn drop(&mut self) {
        // The links are removed, and not what they lead to.
        _ = fs::remove_dir_all(&self.0);
    }
}

/// Gives the program what git would give it, and nothing that makes it leave a file out.
pub(super) fn set_environment(command: &mut Command, client: &GitClient, files: &Files<'_>) {
    let url = client.effective_url(files.url);
    let remote = match url.scheme() {
        GitScheme::File => format!("file://{}", absolute(url.path()).display()),
        _ => url.expose().to_owned(),
    };
    let own = [
        // In a variable, as it may hold a password.
        ("remote.origin.url", remote),
        ("lfs.fetchinclude", String::new()),
        ("lfs.fetchexclude", String::new()),
    ];
    let own = own.map(|(name, value)| (name.to_owned(), value));
    let settings = &client.shared.environment.configuration;
    let mut count = 0;
    for (name, value) in settings.iter().cloned().chain(own) {
        command.env(format!("GIT_CONFIG_KEY_{count}"), name);
        command.env(format!("GIT_CONFIG_VALUE_{count}"), value);
        count += 1;
    }
    let objects: Vec<String> = files
        .objects
        .iter()
        .map(|folder| folder.display().to_string())
        .collect();
    command
        .env("GIT_CONFIG_COUNT", count.to_string())
        .env("GIT_DIR", absolute(files.git_dir))
        .env("GIT_WORK_TREE", absolute(files.work_tree))
        .env("GIT_ALTERNATE_OBJECT_DIRECTORIES", objects.join(":"))
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("LANGUAGE", "en")
        .env_remove("GIT_OBJECT_DIRECTORY")
        .env_remove("GIT_INDEX_FILE")
        .env_remove("GIT_COMMON_DIR")
        // Set on many CI runners, to save what a build does need.
        .env_remove("GIT_LFS_SKIP_SMUDGE");
}

fn absolute(path: impl AsRef<Path>) -> PathBuf {
    let path = path.as_ref();
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
