//! The Docker Engine, and what is really in it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use serde_json::Value;

use super::base_image;
use super::product::Product;
use super::server::{Server, Starter};
use super::tls::Certificates;
use crate::process::{self, succeed};

/// Where the engine of a machine listens by default.
const DEFAULT_HOST: &str = "unix:///var/run/docker.sock";

/// A Docker Engine, or Podman: `bin/world` says how one is chosen. Only root can run a private one; other
/// users get the engine at hand, in which only what tests made is removed.
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

    /// Starts an engine that does not see this machine's files, and returns it with its port, on which
    /// it speaks TLS; as an engine of the test world it is reached by a socket all the same.
    pub(super) fn start_far(
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

    /// Returns the address as in `DOCKER_HOST`.
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

    /// Returns what the engine knows about an image.
    pub fn image(&self, reference: &str) -> Option<Value> {
        let output = self.docker(["image", "inspect", reference]);
        if output.status.success() {
            return Some(only_element(&output.stdout));
        }
        let message = process::text(&output.stderr);
        assert!(message.contains("No such image"), "{reference}: {message}");
        None
    }

    /// Returns the images, as `repository:tag`, whose name starts so; sorted.
    pub fn images_with_prefix(&self, prefix: &str) -> Vec<String> {
        let format = "{{.Repository}}:{{.Tag}}";
        let list = succeed(self.client().args(["image", "ls", "--format", format]));
        let mut images: Vec<String> = list
            .lines()
            .filter(|name| name.starts_with(prefix))
            .map(str::to_owned)
            .collect();
        images.sort();
        images
    }

    /// Returns what the engine knows about each container that matches all filters, such as
    /// `label=org.example=1`; the stopped ones too.
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
        // One that has gone meanwhile makes the command fail, and the others are still printed.
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
        let run = ["run", "--rm", "--network", "host", image];
        succeed(self.client().args(run).args(command))
    }

    /// Gives an image one more name.
    #[track_caller]
    pub fn tag(&self, image: &str, name: &str) {
        succeed(self.client().args(["tag", image, name]));
    }

    /// Removes a name of an image, and the image with its last name.
    #[track_caller]
    pub fn remove_image(&self, reference: &str) {
        succeed(self.client().args(["image", "rm", "--force", reference]));
    }

    /// Removes containers, which may be running.
    pub fn remove_containers(&self, containers: &[Value]) {
        let ids = containers
            .iter()
            .filter_map(|container| container["Id"].as_str());
        let ids: Vec<&str> = ids.collect();
        if !ids.is_empty() {
            // Some may be on their way out already.
            process::run(self.client().args(["rm", "--force", "--volumes"]).args(ids));
        }
    }

    /// Returns the name of a base image with a shell and the usual small programs.
    pub fn busybox(&self) -> &str {
        self.busybox
            .get_or_init(|| base_image::import(self, &self.directory.join("busybox")))
    }

    /// Returns which engine it is, for what differs between them.
    pub fn product(&self) -> Product {
        *self.product.get_or_init(|| Product::of(self))
    }

    /// Tells whether it is private: nobody else's containers, volumes and images are in it.
    pub fn is_private(&self) -> bool {
        self.server.is_some()
    }

    /// Ends the engine at once, as a crash would, and with it its containers.
    pub fn crash(&self) {
        let pid = std::fs::read_to_string(self.directory.join("docker.pid"));
        let pid = pid.expect("a private engine that runs");
        succeed(Command::new("kill").args(["-KILL", pid.trim()]));
        // Its script ends what is left of the containers, and then itself.
        self.server.as_ref().expect("a private engine").wait();
    }

    /// Stops a private engine as a restart of its service does; in another one removes what tests made.
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
