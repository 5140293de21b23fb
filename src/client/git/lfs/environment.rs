//! The environment of the `git-lfs` program: its variables, and its storage folder.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use tokio::process::Command;

use super::filter::LfsFiles;
use crate::client::git::{GitClient, GitError};
use crate::model::source::GitScheme;

/// A folder `lfs` in the git directory with links to the cache; removed on drop.
///
/// We do not use the setting `lfs.storage`, because it would also apply to a remote on this machine. On a
/// failure, `git-lfs` writes a log with all variables and URLs, including passwords, to this folder.
pub(super) struct LfsStorage(PathBuf);

impl LfsStorage {
    pub(super) fn link(files: &LfsFiles<'_>) -> Result<Self, GitError> {
        let storage = Self(files.git_dir.join("lfs"));
        let linked = || -> io::Result<()> {
            fs::create_dir_all(&storage.0)?;
            for name in ["objects", "tmp", "incomplete"] {
                let cache = absolute(files.storage).join(name);
                fs::create_dir_all(&cache)?;
                symlink(cache, storage.0.join(name))?;
            }
            Ok(())
        };
        linked().map_err(|cause| {
            GitError::file(format!("cannot write {}", files.storage.display()), cause)
        })?;
        Ok(storage)
    }
}

impl Drop for LfsStorage {
    fn drop(&mut self) {
        // This removes the links, not their targets.
        _ = fs::remove_dir_all(&self.0);
    }
}

/// Sets the variables that git would set, and removes those that make `git-lfs` skip files.
pub(super) fn set_environment(command: &mut Command, client: &GitClient, files: &LfsFiles<'_>) {
    let url = client.effective_url(files.url);
    let remote = match url.scheme() {
        GitScheme::File => format!("file://{}", absolute(url.path()).display()),
        _ => url.expose().to_owned(),
    };
    let own = [
        // Passed in a variable, because it may contain a password.
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
        // Set on many CI runners to save traffic, but builds need the files.
        .env_remove("GIT_LFS_SKIP_SMUDGE");
}

fn absolute(path: impl AsRef<Path>) -> PathBuf {
    let path = path.as_ref();
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
