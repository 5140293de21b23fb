//! The environment of one test: a folder, unique names, the servers and `xp`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::case::skip;
use crate::hg_repository::HgRepository;
use crate::process;
use crate::repository::{GitRepository, git_command, write_file};
use crate::token_server::TokenServer;
use crate::world::{
    self, Access, Cluster, Engine, GitServer, GitServerKind, Namespace, PASSWORD, Registry,
    RegistryKind, Request, Sshd, USER, World, closed_port,
};
use crate::xp::Xp;

/// The environment of one test. Its folder is deleted if the test passes:
///
/// ```text
/// product/   Context::dir: the manifest, builders, working copies; `xp` runs here
/// home/      HOME of `xp` and of git
/// docker/    DOCKER_CONFIG of `xp`, written by Context::log_in
/// authors/   the clones from which GitRepository commits
/// runs/      output of each `xp`
/// ```
pub struct Context {
    world: Arc<World>,
    folder: PathBuf,
    prefix: String,
    runs: AtomicUsize,
}

impl Context {
    /// Creates the environment of a test.
    pub fn new(world: Arc<World>, test_name: &str) -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(1);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let words = test_name.split(|character: char| !character.is_ascii_alphanumeric());
        let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
        let unique_name = format!("{number}-{}", words.join("-").to_ascii_lowercase());

        let folder = world.tests().join(&unique_name);
        let prefix = format!("{}/{unique_name}", world::run_prefix());
        let context = Self {
            world,
            folder,
            prefix,
            runs: AtomicUsize::new(0),
        };
        for name in ["product", "home", "docker", "authors", "runs"] {
            fs::create_dir_all(context.folder.join(name)).expect("a folder of a test");
        }
        context
    }

    /// Returns the test's folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns the folder of the manifest, in which `xp` runs.
    pub fn dir(&self) -> PathBuf {
        self.folder.join("product")
    }

    /// Returns the home folder of `xp` and of git.
    pub fn home(&self) -> PathBuf {
        self.folder.join("home")
    }

    /// Returns the folder of Docker's client configuration, as `xp` sees it.
    pub fn docker_config(&self) -> PathBuf {
        self.folder.join("docker")
    }

    /// Returns the prefix of the test's images and repositories, in any registry: two components, such
    /// as `xp-test-1/2-name`.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Returns `<prefix>/<name>`: an image of the engine, or a repository of a registry.
    pub fn image(&self, name: &str) -> String {
        format!("{}/{name}", self.prefix)
    }

    /// Returns the value of `registry` in the manifest for a registry.
    pub fn registry_prefix(&self, registry: &Registry) -> String {
        format!("{}/{}", registry.host(), self.prefix)
    }

    // --- Files ---

    /// Writes `x-platform.yml`.
    pub fn manifest(&self, text: &str) {
        self.write("x-platform.yml", text);
    }

    /// Writes a builder's folder and returns its name for the manifest: `builders/…`. The name is
    /// unique, because without a registry all tests share the builder images of the engine.
    pub fn builder(&self, name: &str, dockerfile: &str, files: &[(&str, &str)]) -> String {
        let (_, unique_name) = self.prefix.split_once('/').expect("two parts");
        let builder = format!("builders/{unique_name}-{name}");
        self.write(&format!("{builder}/Dockerfile"), dockerfile);
        for (path, content) in files {
            self.write(&format!("{builder}/{path}"), content);
        }
        builder
    }

    /// Writes a file below [`Context::dir`], executable if it begins with `#!`.
    pub fn write(&self, path: &str, content: &str) {
        write_file(&self.dir().join(path), content);
    }

    /// Returns the contents of a file below [`Context::dir`].
    #[track_caller]
    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.dir().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// Returns whether a path exists below [`Context::dir`].
    pub fn exists(&self, path: &str) -> bool {
        self.dir().join(path).symlink_metadata().is_ok()
    }

    // --- Programs ---

    /// Returns an `xp` command with these arguments.
    pub fn xp<const N: usize>(&self, arguments: [&str; N]) -> Xp {
        self.program(env!("CARGO_BIN_EXE_xp"), arguments)
    }

    /// Returns another program, run like `xp`.
    pub fn program<const N: usize>(&self, program: &str, arguments: [&str; N]) -> Xp {
        let number = self.runs.fetch_add(1, Ordering::Relaxed) + 1;
        let mut command = process::in_clean_environment(program);
        command.args(arguments).current_dir(self.dir());
        command
            .env("HOME", self.home())
            .env("LANG", "C.UTF-8")
            .env("NO_COLOR", "1");
        command.env("DOCKER_CONFIG", self.docker_config());
        command.env("DOCKER_HOST", self.engine().host());
        command.env("GIT_CONFIG_NOSYSTEM", "1");
        if let Some(sshd) = self.world.started_sshd() {
            command.env("GIT_SSH_COMMAND", ssh_command(sshd));
        }
        Xp::new(command, self.folder.join(format!("runs/{number:02}")))
    }

    /// Runs git in a folder below [`Context::dir`] and returns its output.
    #[track_caller]
    pub fn git(&self, directory: &str, arguments: &[&str]) -> String {
        process::succeed(self.git_command(directory).args(arguments))
    }

    /// Returns a git command in a folder below [`Context::dir`] that may fail.
    pub fn git_command(&self, directory: &str) -> Command {
        let mut command = git_command(&self.dir().join(directory), &self.home());
        if let Some(sshd) = self.world.started_sshd() {
            command.env("GIT_SSH_COMMAND", ssh_command(sshd));
        }
        command
    }

    // --- Servers ---

    /// Creates an empty git repository on the servers.
    pub fn git_repo(&self, name: &str) -> GitRepository {
        let server_name = format!("{}/{name}.git", self.prefix);
        let clone = self.folder.join("authors").join(name);
        GitRepository::new(Arc::clone(&self.world), server_name, clone, self.home())
    }

    /// Creates an empty Mercurial repository on the servers.
    pub fn hg_repo(&self, name: &str) -> HgRepository {
        let server_name = format!("{}/{name}", self.prefix);
        HgRepository::new(Arc::clone(&self.world), server_name)
    }

    /// Returns the name of a base image with Mercurial and Python.
    pub fn hg_base(&self) -> &str {
        self.world.hg_base()
    }

    /// Returns the name of an image with this machine's Docker Engine.
    pub fn docker_image(&self) -> &str {
        self.world.docker_image()
    }

    /// Returns the log of `hg serve`.
    pub fn hg_requests(&self) -> String {
        self.world.hg_server(false).requests()
    }

    /// Returns the folder with the test's repositories of [`Context::git_repo`].
    pub fn repositories(&self) -> PathBuf {
        self.world.repositories().join(&self.prefix)
    }

    /// Returns the engine.
    pub fn engine(&self) -> &Engine {
        self.world.engine()
    }

    /// Starts an engine for this test alone, which may stop it or inspect everything in it. For users other
    /// than root it is the machine's engine, which is shared. `xp` uses it only if `DOCKER_HOST` is set to it.
    pub fn own_engine(&self) -> Engine {
        self.own_engine_in(&self.world.engine_folder())
    }

    /// Starts an engine for this test alone in a folder, such as a small disk or the folder of an earlier
    /// engine.
    pub fn own_engine_in(&self, directory: &Path) -> Engine {
        let engine = self.world.start_engine(directory);
        engine.unwrap_or_else(|message| panic!("{message}"))
    }

    /// Returns a folder for an engine of this test alone.
    pub fn engine_folder(&self) -> PathBuf {
        self.world.engine_folder()
    }

    /// Returns an engine that cannot access this machine's files, and its TLS port.
    pub fn remote_engine(&self) -> &(Engine, u16) {
        self.world.remote_engine()
    }

    /// Returns the folder with a client certificate and key.
    pub fn client_certificate(&self) -> &Path {
        self.world.client_certificate()
    }

    /// Returns the containers that mount the test's folder or run its images.
    pub fn containers(&self) -> Vec<Value> {
        let mut containers = self.engine().containers(&[]);
        let folder = self.folder.display().to_string();
        containers.retain(|container| {
            let text = container.to_string();
            text.contains(&folder) || text.contains(&format!("{}/", self.prefix))
        });
        containers
    }

    /// Returns the registry without TLS and authentication.
    pub fn registry(&self) -> &Registry {
        self.registry_of(RegistryKind::Open)
    }

    /// Returns a registry, shared by all tests.
    pub fn registry_of(&self, kind: RegistryKind) -> &Registry {
        self.world.registry(kind)
    }

    /// Starts a registry for this test alone, which may stop it or count its requests.
    pub fn own_registry(&self, kind: RegistryKind) -> Registry {
        self.world
            .start_registry(kind, &self.registry_folder())
            .unwrap_or_else(|message| panic!("{message}"))
    }

    /// Starts a registry with the contents of another one, which only accepts the tokens of a server.
    pub fn token_registry(&self, contents: &Registry, tokens: &TokenServer) -> Registry {
        let (folder, realm) = (self.registry_folder(), tokens.realm());
        self.world
            .start_token_registry(&folder, contents, &realm, tokens.certificate())
            .unwrap_or_else(|message| panic!("{message}"))
    }

    fn registry_folder(&self) -> PathBuf {
        static NUMBER: AtomicUsize = AtomicUsize::new(1);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        self.folder.join(format!("registry-{number}"))
    }

    /// Stores the valid credentials of a registry.
    pub fn log_in(&self, registry: &Registry) {
        self.log_in_as(registry, USER, PASSWORD);
    }

    /// Stores credentials of a registry, like `docker login`.
    pub fn log_in_as(&self, registry: &Registry, user: &str, password: &str) {
        self.log_in_host(registry.host(), user, password);
    }

    /// Stores credentials of a registry host.
    pub fn log_in_host(&self, host: &str, user: &str, password: &str) {
        let path = self.docker_config().join("config.json");
        let text = fs::read_to_string(&path).unwrap_or_else(|_| "{}".to_owned());
        let mut configuration: Value = serde_json::from_str(&text).expect("JSON of ours");
        let login = BASE64_STANDARD.encode(format!("{user}:{password}"));
        configuration["auths"][host] = json!({ "auth": login });
        fs::write(path, configuration.to_string()).expect("Docker's client configuration");
    }

    /// Returns the requests for this test's repositories.
    pub fn own_requests(&self, mut requests: Vec<Request>) -> Vec<Request> {
        let part = format!("/{}/", self.prefix);
        requests.retain(|request| request.path.contains(&part));
        requests
    }

    /// Returns a git server, shared by all tests.
    pub fn git_server(&self, kind: GitServerKind) -> &GitServer {
        self.world.git_server(kind)
    }

    /// Returns the ssh server. Afterwards, `xp` gets a `GIT_SSH_COMMAND` for it.
    pub fn sshd(&self) -> &Sshd {
        self.world.sshd()
    }

    /// Returns the Kubernetes API server, shared by all tests.
    pub fn cluster(&self) -> &Cluster {
        self.world.cluster()
    }

    /// Starts a Kubernetes API server for this test alone, which may make it unreachable.
    pub fn own_cluster(&self) -> Cluster {
        let cluster = self.world.start_cluster(&self.folder.join("cluster"));
        cluster.unwrap_or_else(|message| panic!("{message}"))
    }

    /// Creates a namespace for this test alone: `<name>-<a number>`.
    pub fn namespace(&self, name: &str) -> Namespace {
        let (_, unique_name) = self.prefix.split_once('/').expect("two parts");
        let number = unique_name.split('-').next().unwrap_or_default();
        let name = format!("{name}-{number}");
        match self.world.foreign_cluster() {
            Some(foreign) => foreign
                .namespace(&name)
                .unwrap_or_else(|message| panic!("{message}")),
            None => self.cluster().namespace(&name),
        }
    }

    /// Returns whether the namespaces of tests are in a cluster that does not belong to the tests.
    pub fn uses_foreign_cluster(&self) -> bool {
        self.world.foreign_cluster().is_some()
    }

    /// Skips the test on a foreign cluster.
    pub fn requires_own_cluster(&self) {
        if self.uses_foreign_cluster() {
            skip("it needs the cluster of the tests");
        }
    }

    /// Writes `~/.kube/config` with these contexts; the first is the current one.
    pub fn kubeconfig(&self, contexts: &[(&str, Access)]) {
        let text = match self.world.foreign_cluster() {
            Some(foreign) => foreign.kubeconfig(contexts),
            None => self.cluster().kubeconfig(contexts),
        };
        self.write_kubeconfig(&text);
    }

    /// Writes `~/.kube/config`.
    pub fn write_kubeconfig(&self, text: &str) {
        write_file(&self.home().join(".kube/config"), text);
    }

    /// Returns a `kubectl` command. Unlike [`Context::program`], it needs no engine.
    pub fn kubectl<const N: usize>(&self, arguments: [&str; N]) -> Xp {
        let number = self.runs.fetch_add(1, Ordering::Relaxed) + 1;
        let mut command = process::in_clean_environment("kubectl");
        command.args(arguments).current_dir(self.dir());
        command.env("HOME", self.home());
        Xp::new(command, self.folder.join(format!("runs/{number:02}")))
    }

    /// Returns the certificate authority of the TLS servers, for `SSL_CERT_FILE`.
    pub fn ca_certificate(&self) -> &Path {
        self.world.ca_certificate()
    }

    /// Returns a local port on which nothing listens.
    pub fn closed_port(&self) -> u16 {
        closed_port()
    }

    /// Deletes the test's folder.
    pub fn remove_folder(&self) {
        if let Err(error) = fs::remove_dir_all(&self.folder) {
            eprintln!("{}: {error}", self.folder.display());
        }
    }
}

fn ssh_command(sshd: &Sshd) -> String {
    format!("ssh -F '{}'", sshd.client_configuration().display())
}
