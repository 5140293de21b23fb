//! The servers of the test world. `World` owns all of them.

mod access_log;
pub mod base_image;
mod cluster;
mod debian_image;
mod docker_image;
mod engine;
mod folder;
mod gateway;
mod git_server;
mod hg_image;
mod hg_server;
mod product;
mod registry;
mod server;
mod sshd;
mod tls;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;

pub use access_log::{Mark, Request};
pub use cluster::{
    Access, Cluster, Disruption, ForeignCluster, LogCut, Namespace, Outcome, Refusal, SimulatedRun,
};
pub use engine::Engine;
pub use gateway::{Fault, Gateway, Incoming, Reply};
pub use git_server::{GitServer, GitServerKind};
pub use hg_server::HgServer;
pub use product::Store;
pub use registry::{Registry, RegistryKind};
pub use server::{PROGRAM, closed_port};
pub use sshd::Sshd;

use crate::process;
use folder::Folder;
use server::Starter;
use tls::Certificates;

/// The default user of servers with authentication.
pub const USER: &str = "xp";
/// The password of [`USER`].
pub const PASSWORD: &str = "secret";
/// Another user, with special characters in the password.
pub const SPECIAL_USER: &str = "o'brien@example.com";
/// The password of [`SPECIAL_USER`]. At any offset, its Base64 encoding has characters that differ in
/// the URL-safe alphabet.
pub const SPECIAL_PASSWORD: &str = "a:~~~???>>>\"\\$%ü";

/// Returns the name prefix of everything a test run creates in shared places.
pub fn run_prefix() -> String {
    format!("xp-test-{}", std::process::id())
}

/// Returns the engine and store selected by the environment, such as `sid containerd`.
pub fn chosen_engine() -> Result<String, String> {
    let output = process::run(Command::new(PROGRAM).arg("chosen-engine"));
    if output.status.success() {
        Ok(process::text(&output.stdout).trim().to_owned())
    } else {
        Err(process::text(&output.stderr).trim().to_owned())
    }
}

/// All servers of a test run. Each starts on first use and runs until [`World::stop`], which is also
/// called on drop.
pub struct World {
    folder: Folder,
    starter: Starter,
    engine: Lazy<Engine>,
    remote_engine: Lazy<(Engine, u16)>,
    registries: [Lazy<Registry>; RegistryKind::COUNT],
    git_servers: [Lazy<GitServer>; GitServerKind::COUNT],
    hg_servers: [Lazy<HgServer>; 2],
    hg_base: Lazy<String>,
    docker_image: Lazy<String>,
    sshd: Lazy<Sshd>,
    cluster: Lazy<Cluster>,
    foreign_cluster: Lazy<Option<Arc<ForeignCluster>>>,
    certificates: Lazy<Certificates>,
    htpasswd: Lazy<PathBuf>,
}

/// Something started once. A failure is stored as well, and reported by each test that needs it.
struct Lazy<T>(OnceLock<Result<T, String>>);

impl<T> Lazy<T> {
    const fn new() -> Self {
        Self(OnceLock::new())
    }

    fn get(&self, start: impl FnOnce() -> Result<T, String>) -> &T {
        match self.0.get_or_init(start) {
            Ok(value) => value,
            Err(message) => panic!("{message}"),
        }
    }

    fn started(&self) -> Option<&T> {
        self.0.get().and_then(|result| result.as_ref().ok())
    }
}

impl World {
    /// Creates a world without starting any server.
    pub fn new() -> Self {
        Self {
            folder: Folder::new(),
            starter: Starter::new(),
            engine: Lazy::new(),
            remote_engine: Lazy::new(),
            registries: [const { Lazy::new() }; RegistryKind::COUNT],
            git_servers: [const { Lazy::new() }; GitServerKind::COUNT],
            hg_servers: [const { Lazy::new() }; 2],
            hg_base: Lazy::new(),
            docker_image: Lazy::new(),
            sshd: Lazy::new(),
            cluster: Lazy::new(),
            foreign_cluster: Lazy::new(),
            certificates: Lazy::new(),
            htpasswd: Lazy::new(),
        }
    }

    /// Returns the Docker Engine: private for root, else the machine's engine.
    pub fn engine(&self) -> &Engine {
        self.engine
            .get(|| Engine::start(&self.starter, &self.directory("engine")))
    }

    /// Returns an engine that cannot access this machine's files, and its TLS port.
    pub fn remote_engine(&self) -> &(Engine, u16) {
        self.remote_engine.get(|| {
            let directory = self.directory("far");
            Engine::start_remote(&self.starter, &directory, self.certificates())
        })
    }

    /// Starts another engine in its own folder, for a test that stops it or fills its disk. For users other
    /// than root, returns the machine's engine.
    pub fn start_engine(&self, directory: &Path) -> Result<Engine, String> {
        Engine::start(&self.starter, directory)
    }

    /// Returns a folder for another engine. Its path is short because the length of socket paths is limited.
    pub fn engine_folder(&self) -> PathBuf {
        static NUMBER: AtomicUsize = AtomicUsize::new(1);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        self.directory(&format!("engine-{number}"))
    }

    /// Returns the folder with a client certificate and key.
    pub fn client_certificate(&self) -> &Path {
        &self.certificates().client
    }

    /// Returns the registry of a kind, shared by all tests.
    pub fn registry(&self, kind: RegistryKind) -> &Registry {
        self.registries[kind as usize]
            .get(|| self.start_registry(kind, &self.directory(kind.folder_name())))
    }

    /// Starts another registry in its own folder, for a test that stops it or counts its requests.
    pub fn start_registry(&self, kind: RegistryKind, directory: &Path) -> Result<Registry, String> {
        let htpasswd = kind.has_auth().then(|| self.htpasswd());
        let certificates = kind.has_tls().then(|| self.certificates());
        Registry::start(&self.starter, kind, directory, htpasswd, certificates)
    }

    /// Starts a registry with the contents of another one, which only accepts tokens of a server.
    pub fn start_token_registry(
        &self,
        directory: &Path,
        contents: &Registry,
        realm: &str,
        certificate: &Path,
    ) -> Result<Registry, String> {
        let starter = &self.starter;
        Registry::start_with_tokens(starter, directory, contents, realm, certificate)
    }

    /// Returns the git server of a kind. All kinds serve the same repositories.
    pub fn git_server(&self, kind: GitServerKind) -> &GitServer {
        self.git_servers[kind as usize].get(|| {
            let htpasswd = kind.has_auth().then(|| self.htpasswd());
            let certificates = kind.has_tls().then(|| self.certificates());
            let directory = self.directory(kind.folder_name());
            let repositories = self.repositories();
            GitServer::start(
                &self.starter,
                &directory,
                &repositories,
                htpasswd,
                certificates,
            )
        })
    }

    /// Returns the Mercurial server, or the one that requires a login. Both serve the same repositories.
    pub fn hg_server(&self, has_auth: bool) -> &HgServer {
        self.hg_servers[usize::from(has_auth)].get(|| {
            let htpasswd = has_auth.then(|| self.htpasswd());
            let directory = self.directory(if has_auth { "hg-auth" } else { "hg" });
            HgServer::start(&self.starter, &directory, &self.hg_repositories(), htpasswd)
        })
    }

    /// Returns the folder of the Mercurial repositories.
    pub fn hg_repositories(&self) -> PathBuf {
        self.directory("hg-repositories")
    }

    /// Returns the name of a base image with Mercurial and Python.
    pub fn hg_base(&self) -> &str {
        self.hg_base.get(|| {
            let root = self.directory("hg-image");
            Ok(hg_image::import(self.engine(), &root))
        })
    }

    /// Returns the name of an image with this machine's Docker Engine.
    pub fn docker_image(&self) -> &str {
        self.docker_image.get(|| {
            let root = self.directory("docker-image");
            Ok(docker_image::import(self.engine(), &root))
        })
    }

    /// Returns the ssh server, which serves the same repositories by their path.
    pub fn sshd(&self) -> &Sshd {
        self.sshd
            .get(|| Sshd::start(&self.starter, &self.directory("sshd")))
    }

    /// Returns the ssh server if it was started.
    pub fn started_sshd(&self) -> Option<&Sshd> {
        self.sshd.started()
    }

    /// Returns the Kubernetes API server.
    pub fn cluster(&self) -> &Cluster {
        self.cluster
            .get(|| self.start_cluster(&self.directory("cluster")))
    }

    /// Returns the foreign cluster that the environment selects.
    pub fn foreign_cluster(&self) -> Option<&Arc<ForeignCluster>> {
        self.foreign_cluster.get(ForeignCluster::selected).as_ref()
    }

    /// Starts another Kubernetes API server, for a test that makes it unreachable.
    pub fn start_cluster(&self, directory: &Path) -> Result<Cluster, String> {
        let Certificates {
            authority,
            server,
            server_key,
            ..
        } = self.certificates();
        Cluster::start(directory, authority, server, server_key)
    }

    /// Returns the CA of the servers' certificates.
    pub fn ca_certificate(&self) -> &Path {
        &self.certificates().authority
    }

    /// Returns the folder of the bare repositories of all git servers.
    pub fn repositories(&self) -> PathBuf {
        self.directory("repositories")
    }

    /// Returns the parent of the test folders.
    pub fn tests(&self) -> PathBuf {
        self.folder.tests()
    }

    /// Stops all servers concurrently and deletes their files. Idempotent.
    pub fn stop(&self) {
        thread::scope(|scope| {
            scope.spawn(|| self.engine.started().map(Engine::stop));
            scope.spawn(|| {
                self.remote_engine
                    .started()
                    .map(|(engine, _)| engine.stop())
            });
            for registry in self.registries.iter().filter_map(Lazy::started) {
                scope.spawn(|| registry.stop());
            }
            for git_server in self.git_servers.iter().filter_map(Lazy::started) {
                scope.spawn(|| git_server.stop());
            }
            for hg_server in self.hg_servers.iter().filter_map(Lazy::started) {
                scope.spawn(|| hg_server.stop());
            }
            scope.spawn(|| self.sshd.started().map(Sshd::stop));
            scope.spawn(|| self.cluster.started().map(Cluster::stop));
            scope.spawn(|| {
                let foreign = self.foreign_cluster.started().and_then(Option::as_ref);
                foreign.map(|foreign| foreign.stop())
            });
        });
        self.folder.remove();
    }

    fn directory(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn certificates(&self) -> &Certificates {
        self.certificates
            .get(|| Ok(Certificates::generate(&self.directory("tls"))))
    }

    fn htpasswd(&self) -> &Path {
        self.htpasswd.get(|| {
            let path = self.directory("htpasswd");
            // The registry accepts only bcrypt; the lowest cost keeps requests fast.
            let line = |user: &str, password: &str| {
                let mut command = Command::new("htpasswd");
                process::succeed(command.args(["-nbB", "-C", "4", user, password]))
            };
            let lines = [line(USER, PASSWORD), line(SPECIAL_USER, SPECIAL_PASSWORD)];
            let lines = lines.each_ref().map(|line| line.trim_end()).join("\n");
            std::fs::write(&path, lines).map_err(|error| error.to_string())?;
            Ok(path)
        })
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop();
    }
}
