//! The container engine and its contents.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;

use super::product::Product;
use super::server::{Server, Starter};
use super::tls::Certificates;
use super::{base_image, debian_image};
use crate::process::{self, succeed};

/// The default socket.
const DEFAULT_HOST: &str = "unix:///var/run/docker.sock";

/// How often a list of images is repeated.
const LISTS: usize = 5;

/// A Docker Engine, or Podman; see `bin/world` for the choice. Only root can run a private one. Other users
/// get the machine's engine, where only objects created by tests are removed.
pub struct Engine {
    server: Option<Server>,
    host: String,
    directory: PathBuf,
    busybox: OnceLock<String>,
    product: OnceLock<Product>,
}

impl Engine {
    pub(super) fn start(starter: &Starter, directory: &Path) -> Result<Self, String> {
        let engine = |server, host| Self {
            server,
            host,
            directory: directory.to_owned(),
            busybox: OnceLock::new(),
            product: OnceLock::new(),
        };
        if rustix::process::geteuid().is_root() {
            let socket = directory.join("docker.sock");
            let is_ready = || socket.exists() && ping(&socket);
            let server = Server::start(starter, "engine", directory, &[], is_ready)?;
            Ok(engine(Some(server), format!("unix://{}", socket.display())))
        } else {
            let host = std::env::var("DOCKER_HOST").unwrap_or(DEFAULT_HOST.to_owned());
            let engine = engine(None, host);
            let output = engine.docker(["version"]);
            match output.status.success() {
                true => Ok(engine),
                false => Err(format!(
                    "the test world has no engine: without root, one must be reachable at {}\n{}",
                    engine.host,
                    process::text(&output.stderr),
                )),
            }
        }
    }

    /// Starts an engine that cannot access this machine's files, and returns it with its TLS port. The
    /// harness itself uses its socket.
    pub(super) fn start_remote(
        starter: &Starter,
        directory: &Path,
        certificates: &Certificates,
    ) -> Result<(Self, u16), String> {
        let tls = [
            &certificates.authority,
            &certificates.server,
            &certificates.server_key,
        ];
        let tls = tls.map(|path| path.display().to_string());
        let (server, port) = Server::start_on_port(starter, "far-engine", directory, &tls)?;
        let socket = directory.join("docker.sock");
        let engine = Self {
            server: Some(server),
            host: format!("unix://{}", socket.display()),
            directory: directory.to_owned(),
            busybox: OnceLock::new(),
            product: OnceLock::new(),
        };
        match ping(&socket) {
            true => Ok((engine, port)),
            false => Err("the test world's far engine does not answer".to_owned()),
        }
    }

    /// Returns the names of the volumes, sorted.
    pub fn volumes(&self, filter: &str) -> Vec<String> {
        let list = succeed(
            self.client()
                .args(["volume", "ls", "--quiet", "--filter", filter]),
        );
        let mut names: Vec<String> = list.lines().map(str::to_owned).collect();
        names.sort();
        names
    }

    /// Returns the address in the format of `DOCKER_HOST`.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the docker client, connected to this engine.
    pub fn client(&self) -> Command {
        let mut command = Command::new("docker");
        command
            .env_remove("DOCKER_CONTEXT")
            .env("DOCKER_HOST", &self.host);
        command.env("DOCKER_CONFIG", self.directory.join("client"));
        command
    }

    /// Runs the docker client, which may fail.
    pub fn docker<const N: usize>(&self, arguments: [&str; N]) -> Output {
        process::run(self.client().args(arguments))
    }

    /// Returns the `docker inspect` output of an image.
    pub fn image(&self, reference: &str) -> Option<Value> {
        let output = self.docker(["image", "inspect", reference]);
        if output.status.success() {
            return Some(only_element(&output.stdout));
        }
        let message = process::text(&output.stderr);
        assert!(message.contains("No such image"), "{reference}: {message}");
        None
    }

    /// Returns the images with a name prefix, as `repository:tag`, sorted.
    pub fn images_with_prefix(&self, prefix: &str) -> Vec<String> {
        let format = "{{.Repository}}:{{.Tag}}";
        let list = || self.docker(["image", "ls", "--format", format]);
        let mut output = list();
        // In the containerd image store, the list fails if another test removes an image meanwhile.
        for _ in 0..LISTS {
            if output.status.success() || !process::text(&output.stderr).contains("NotFound") {
                break;
            }
            output = list();
        }
        assert!(output.status.success(), "{output:?}");
        let mut images: Vec<String> = process::text(&output.stdout)
            .lines()
            .filter(|name| name.starts_with(prefix))
            .map(str::to_owned)
            .collect();
        images.sort();
        images
    }

    /// Returns the `docker inspect` output of each container that matches all filters, such as
    /// `label=org.example=1`, including stopped ones.
    pub fn containers(&self, filters: &[&str]) -> Vec<Value> {
        let mut list = self.client();
        list.args(["ps", "--all", "--quiet", "--no-trunc"]);
        for filter in filters {
            list.args(["--filter", filter]);
        }
        let ids = succeed(&mut list);
        if ids.is_empty() {
            return Vec::new();
        }
        // The command fails if a container is gone by now, but still prints the others.
        let output = process::run(
            self.client()
                .args(["container", "inspect"])
                .args(ids.lines()),
        );
        serde_json::from_slice(&output.stdout).expect("docker prints JSON")
    }

    /// Runs a command in a new container of an image and returns its output.
    #[track_caller]
    pub fn run<const N: usize>(&self, image: &str, command: [&str; N]) -> String {
        static RUNS: AtomicUsize = AtomicUsize::new(0);
        let number = RUNS.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}-output-{number}", super::run_prefix());
        let run = ["run", "--name", &name, "--network", "host", image];
        let attached = succeed(self.client().args(run).args(command));
        // On a busy machine, new engines may end the attached stream of a short program too early.
        let output = if attached.is_empty() {
            succeed(self.client().args(["logs", &name]))
        } else {
            attached
        };
        succeed(self.client().args(["rm", &name]));
        output
    }

    /// Tags an image.
    #[track_caller]
    pub fn tag(&self, image: &str, name: &str) {
        succeed(self.client().args(["tag", image, name]));
    }

    /// Removes a tag of an image, and the image with its last tag.
    #[track_caller]
    pub fn remove_image(&self, reference: &str) {
        succeed(self.client().args(["image", "rm", "--force", reference]));
    }

    /// Removes containers, even if running.
    pub fn remove_containers(&self, containers: &[Value]) {
        let ids = containers
            .iter()
            .filter_map(|container| container["Id"].as_str());
        let ids: Vec<&str> = ids.collect();
        if !ids.is_empty() {
            // Some may already be exiting.
            process::run(self.client().args(["rm", "--force", "--volumes"]).args(ids));
        }
    }

    /// Returns the name of a base image with a shell and the usual small programs.
    pub fn busybox(&self) -> &str {
        self.busybox
            .get_or_init(|| base_image::import(self, &self.directory.join("busybox")))
    }

    /// Returns the name of an image of Debian with these packages. It is made once, and kept in `target`.
    pub fn debian(&self, packages: &[&str]) -> String {
        debian_image::import(self, packages)
    }

    /// Returns the product and version.
    pub fn product(&self) -> Product {
        *self.product.get_or_init(|| Product::of(self))
    }

    /// Returns whether it is private to the tests.
    pub fn is_private(&self) -> bool {
        self.server.is_some()
    }

    /// Kills the engine and its containers, like a crash.
    pub fn crash(&self) {
        let pid = std::fs::read_to_string(self.directory.join("docker.pid"));
        let pid = pid.expect("a private engine that runs");
        succeed(Command::new("kill").args(["-KILL", pid.trim()]));
        // Its script kills the remaining containers, then exits.
        self.server.as_ref().expect("a private engine").wait();
    }

    /// Stops a private engine like a service restart; in a shared one, removes the objects of tests.
    pub fn stop(&self) {
        match &self.server {
            Some(server) => server.stop(),
            None => {
                let mark = super::run_prefix();
                let mut containers = self.containers(&[]);
                containers.retain(|container| container.to_string().contains(&mark));
                self.remove_containers(&containers);
                for image in self
                    .images_with_prefix("")
                    .iter()
                    .filter(|name| name.contains(&mark))
                {
                    process::run(self.client().args(["image", "rm", "--force", image]));
                }
            }
        }
    }
}

fn ping(socket: &Path) -> bool {
    let mut command = Command::new("curl");
    command.args([
        "--silent",
        "--fail",
        "--max-time",
        "5",
        "--output",
        "/dev/null",
    ]);
    command
        .arg("--unix-socket")
        .arg(socket)
        .arg("http://engine/_ping");
    process::run(&mut command).status.success()
}

fn only_element(json: &[u8]) -> Value {
    let mut list: Vec<Value> = serde_json::from_slice(json).expect("docker prints JSON");
    list.pop().expect("one element for one name")
}
