//! Mercurial repositories on the servers.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use crate::process;
use crate::repository::write_file;
use crate::world::World;

/// A repository that `hg serve` serves. Commits are made in place.
pub struct HgRepository {
    world: Arc<World>,
    server_name: String,
    folder: PathBuf,
}

impl HgRepository {
    pub(super) fn new(world: Arc<World>, server_name: String) -> Self {
        let folder = world.hg_repositories().join(&server_name);
        fs::create_dir_all(&folder).expect("a folder of the repository");
        let repository = Self {
            world,
            server_name,
            folder,
        };
        repository.hg(&["init"]);
        repository
    }

    /// Returns the URL.
    pub fn url(&self) -> String {
        self.world.hg_server(false).url(&self.server_name)
    }

    /// Returns the URL on the server that requires a login.
    pub fn url_auth(&self) -> String {
        self.world.hg_server(true).url(&self.server_name)
    }

    /// Writes files, commits all changes and returns the commit.
    pub fn commit(&self, files: &[(&str, &str)], message: &str) -> String {
        for (path, content) in files {
            write_file(&self.folder.join(path), content);
        }
        self.hg(&[
            "commit",
            "--addremove",
            "--quiet",
            "--date",
            "1700000000 0",
            "--message",
            message,
        ]);
        self.head()
    }

    /// Returns the checked-out commit.
    pub fn head(&self) -> String {
        self.hg(&["log", "--rev", ".", "--template", "{node}"])
    }

    /// Runs hg and returns its output.
    #[track_caller]
    pub fn hg(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("hg");
        command.args(arguments).current_dir(&self.folder);
        command
            .env("HGRCPATH", "")
            .env("HGPLAIN", "1")
            .env("HGUSER", "Ada <ada@example.com>");
        process::succeed(&mut command).trim().to_owned()
    }
}
