//! Mercurial over HTTP.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::registry::server_arguments;
use super::server::{Server, Starter};

/// `hg serve`.
pub struct HgServer {
    server: Server,
    host: String,
    log: PathBuf,
}

impl HgServer {
    pub(super) fn start(
        starter: &Starter,
        directory: &Path,
        repositories: &Path,
        htpasswd: Option<&Path>,
    ) -> Result<Self, String> {
        let problem = |error: std::io::Error| format!("{}: {error}", directory.display());
        fs::create_dir_all(directory).map_err(problem)?;
        fs::create_dir_all(repositories).map_err(problem)?;
        symlink(repositories, directory.join("repositories")).map_err(problem)?;
        let arguments = server_arguments(htpasswd, None);
        let (server, port) = Server::start_on_port(starter, "hg-http", directory, &arguments)?;
        Ok(Self {
            server,
            host: format!("127.0.0.1:{port}"),
            log: directory.join("access.log"),
        })
    }

    /// Returns the URL of a repository path.
    pub fn url(&self, repository: &str) -> String {
        format!("http://{}/{repository}", self.host)
    }

    /// Returns the log of all requests, of all tests.
    pub fn requests(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub(super) fn stop(&self) {
        self.server.stop();
    }
}
