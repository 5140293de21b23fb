//! Git over HTTP.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::access_log::{AccessLog, Mark, Request};
use super::registry::server_arguments;
use super::server::{Server, Starter};
use super::tls::Certificates;

/// Kind of git server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GitServerKind {
    /// Plain HTTP, no authentication.
    Open,
    /// Plain HTTP, basic authentication.
    Auth,
    /// HTTPS with a certificate of the private CA, no authentication.
    Tls,
}

impl GitServerKind {
    pub(super) const COUNT: usize = 3;

    pub(super) fn has_auth(self) -> bool {
        self == Self::Auth
    }

    pub(super) fn has_tls(self) -> bool {
        self == Self::Tls
    }

    pub(super) fn folder_name(self) -> &'static str {
        match self {
            Self::Open => "git",
            Self::Auth => "git-auth",
            Self::Tls => "git-tls",
        }
    }
}

/// A smart HTTP server. It serves repositories whose name ends with `old-protocol` without protocol
/// version 2, and redirects `/moved/NAME` to `/NAME`.
pub struct GitServer {
    server: Server,
    host: String,
    scheme: &'static str,
    log: AccessLog,
}

impl GitServer {
    pub(super) fn start(
        starter: &Starter,
        directory: &Path,
        repositories: &Path,
        htpasswd: Option<&Path>,
        certificates: Option<&Certificates>,
    ) -> Result<Self, String> {
        let problem = |error: std::io::Error| format!("{}: {error}", directory.display());
        fs::create_dir_all(directory).map_err(problem)?;
        fs::create_dir_all(repositories).map_err(problem)?;
        symlink(repositories, directory.join("repositories")).map_err(problem)?;

        let arguments = server_arguments(htpasswd, certificates);
        let (server, port) = Server::start_on_port(starter, "git-http", directory, &arguments)?;
        let host = format!("127.0.0.1:{port}");
        let scheme = if certificates.is_some() {
            "https"
        } else {
            "http"
        };
        let authority = certificates.map(|certificates| certificates.authority.as_path());
        let log = directory.join("access.log");
        let log = AccessLog::new(log, format!("{scheme}://{host}"), authority);
        Ok(Self {
            server,
            host,
            scheme,
            log,
        })
    }

    /// Returns the URL of a repository path, with the user info `login`.
    pub fn url(&self, login: &str, repository: &str) -> String {
        format!("{}://{login}{}/{repository}", self.scheme, self.host)
    }

    /// Returns the current position in the log, for [`GitServer::requests_since`].
    pub fn mark(&self) -> Mark {
        self.log.mark()
    }

    /// Returns the requests of all tests since a position.
    pub fn requests_since(&self, mark: Mark) -> Vec<Request> {
        self.log.since(mark)
    }

    pub(super) fn stop(&self) {
        self.server.stop();
    }
}
