//! Git over ssh.

use std::fs;
use std::path::{Path, PathBuf};

use super::server::{Server, Starter};

/// A private ssh server that accepts one key, for the user who runs the tests.
pub struct Sshd {
    server: Server,
    directory: PathBuf,
    port: u16,
}

impl Sshd {
    pub(super) fn start(starter: &Starter, directory: &Path) -> Result<Self, String> {
        let (server, port) = Server::start_on_port(starter, "sshd", directory, &[])?;
        Ok(Self {
            server,
            directory: directory.to_owned(),
            port,
        })
    }

    /// Returns the port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns a configuration file for `ssh -F` with the key, known host, user and port. ssh ignores
    /// `HOME`, so tests must pass the file.
    pub fn client_configuration(&self) -> PathBuf {
        self.directory.join("ssh_config")
    }

    /// Returns the accepted private key.
    pub fn client_key(&self) -> PathBuf {
        self.directory.join("client_key")
    }

    /// Returns the `known_hosts` file with the server's host key.
    pub fn known_hosts(&self) -> PathBuf {
        self.directory.join("known_hosts")
    }

    /// Returns the number of successful logins of all tests.
    pub fn login_count(&self) -> usize {
        let log = fs::read_to_string(self.directory.join("sshd.log")).unwrap_or_default();
        log.matches("Accepted publickey").count()
    }

    pub(super) fn stop(&self) {
        self.server.stop();
    }
}
