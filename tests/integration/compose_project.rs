//! A platform of two services and the compose project that runs them.

use std::process::Command;

use serde_json::Value;

use crate::context::Context;
use crate::language_server::tool;
use crate::process;
use crate::repository::GitRepository;
use crate::xp::Xp;

/// A platform of the services `zbackend` and `zfrontend`, and a compose project that also has a third-party service.
/// Its containers are removed at the end.
pub struct ComposePlatform<'t> {
    t: &'t Context,
    pub backend: GitRepository,
    pub frontend: GitRepository,
    /// The project's name, unique in the engine.
    pub project: String,
}

impl<'t> ComposePlatform<'t> {
    /// Creates it, with images in the engine only.
    pub fn new(t: &'t Context) -> Self {
        let (_, name) = t.prefix().split_once('/').expect("two parts");
        let platform = Self {
            t,
            backend: t.git_repo("zbackend"),
            frontend: t.git_repo("zfrontend"),
            project: format!("p{name}"),
        };
        for repository in [&platform.backend, &platform.frontend] {
            let dockerfile = dockerfile(t);
            repository.commit(
                &[("Dockerfile", &dockerfile), ("content", "one\n")],
                "Start",
            );
        }
        platform.manifest("", "{dev: {compose: docker-compose.yml, timeout: 60s}}");
        platform.compose("", "");
        platform
    }

    /// Writes the manifest with these lines at its top.
    pub fn manifest(&self, top: &str, environments: &str) {
        let service = |name: &str, repository: &GitRepository| {
            format!(
                "  {name}:\n    dir: src/{name}\n    git: {{remote: '{}'}}\n    docker: {{image: {}}}\n",
                repository.url_http(),
                self.image(top, name),
            )
        };
        self.t.manifest(&format!(
            "{top}deploy: {{environments: {environments}}}\nservices:\n{}{}",
            service("zbackend", &self.backend),
            service("zfrontend", &self.frontend)
        ));
    }

    /// Without a registry, all tests share the names of images in the engine.
    fn image(&self, top: &str, name: &str) -> String {
        if top.contains("registry:") {
            name.to_owned()
        } else {
            self.t.image(name)
        }
    }

    /// Pushes to the registry of the tests.
    pub fn use_registry(&self) {
        let registry = self.t.registry_prefix(self.t.registry());
        self.manifest(
            &format!("registry: {registry}\n"),
            "{dev: {compose: docker-compose.yml, timeout: 60s}}",
        );
    }

    /// Writes the compose file with these keys of the backend, and more services.
    pub fn compose(&self, backend: &str, services: &str) {
        let busybox = self.t.engine().busybox();
        self.t.write(
            "docker-compose.yml",
            &format!(
                "name: {}\nservices:\n  zbackend:\n    build: src/zbackend\n    image: \"zbackend:${{TAG:-dev}}\"\n{backend}  \
                 zfrontend: {{build: src/zfrontend}}\n  db:\n    image: {busybox}\n    command: [sleep, '600']\n    \
                 stop_signal: SIGKILL\n{services}",
                self.project
            ),
        );
    }

    /// Returns `xp` with docker compose on `PATH`.
    pub fn xp<const N: usize>(&self, arguments: [&str; N]) -> Xp {
        self.t.xp(arguments).env("PATH", path())
    }

    /// Returns `xp deploy dev`.
    pub fn deploy<const N: usize>(&self, arguments: [&str; N]) -> Xp {
        self.xp(["deploy", "dev"]).args(arguments)
    }

    /// Returns the containers of a compose service.
    pub fn containers(&self, service: &str) -> Vec<Value> {
        self.t.engine().containers(&[
            &format!("label=com.docker.compose.project={}", self.project),
            &format!("label=com.docker.compose.service={service}"),
        ])
    }

    /// Returns the only container of a compose service, which must be running.
    #[track_caller]
    pub fn running(&self, service: &str) -> Value {
        let containers = self.containers(service);
        let [container] = containers.as_slice() else {
            panic!("{service} has {} containers", containers.len());
        };
        assert_eq!(container["State"]["Status"], "running", "{service}");
        container.clone()
    }

    /// Returns what the running container of a compose service has in its file `content`.
    #[track_caller]
    pub fn content(&self, service: &str) -> String {
        let id = self.running(service)["Id"].clone();
        let id = id.as_str().expect("an ID");
        process::succeed(
            self.t
                .engine()
                .client()
                .args(["exec", id, "cat", "/content"]),
        )
    }

    /// Returns the names of the volumes with the record.
    pub fn record_volumes(&self) -> Vec<String> {
        let label = format!("label=x-platform.document=xp-deploy-{}-dev", self.project);
        self.t.engine().volumes(&label)
    }

    /// Returns the record, with the last deploy first.
    #[track_caller]
    pub fn record(&self) -> Vec<Value> {
        let volumes = self.record_volumes();
        let [volume] = volumes.as_slice() else {
            panic!("the record is in {volumes:?}");
        };
        let format = r#"{{index .Labels "x-platform.document.text"}}"#;
        let inspect = ["volume", "inspect", "--format", format, volume];
        let text = process::succeed(self.t.engine().client().args(inspect));
        let record: Value = serde_json::from_str(&text).expect("JSON");
        record["deploys"].as_array().expect("deploys").clone()
    }

    /// Runs docker compose like a user, in the folder of the manifest.
    pub fn user(&self) -> Command {
        let mut command = Command::new(tool("docker-compose"));
        command
            .current_dir(self.t.dir())
            .env("DOCKER_HOST", self.t.engine().host());
        command
    }
}

impl Drop for ComposePlatform<'_> {
    fn drop(&mut self) {
        let containers = self.t.engine().containers(&[&format!(
            "label=com.docker.compose.project={}",
            self.project
        )]);
        self.t.engine().remove_containers(&containers);
        let network = format!("{}_default", self.project);
        process::run(self.t.engine().client().args(["network", "rm", &network]));
    }
}

/// Returns a Dockerfile of a service that runs until it is killed.
pub fn dockerfile(t: &Context) -> String {
    format!(
        "FROM {}\nCOPY content /content\nSTOPSIGNAL SIGKILL\nCMD [\"sleep\", \"600\"]\n",
        t.engine().busybox()
    )
}

/// Returns `PATH` with docker compose first.
pub fn path() -> String {
    let compose = tool("docker-compose");
    let folder = compose.parent().expect("a folder");
    format!(
        "{}:{}",
        folder.display(),
        std::env::var("PATH").unwrap_or_default()
    )
}
