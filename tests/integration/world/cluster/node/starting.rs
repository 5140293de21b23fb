//! The start of a pod: volumes, namespaces and containers.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::container::{Surroundings, spec_of};
use super::environment::Source;
use super::probes::Target;
use super::worker::{End, Worker};
use super::{Order, Waiting, images, uses_host_network, volumes};
use crate::world::cluster::resources::Resource;
use crate::world::cluster::store::{key, now};

/// How often what is missing is looked for again.
const RETRY: Duration = Duration::from_secs(1);
/// A Secret often follows right after its pod.
const MOUNT_RETRY: Duration = Duration::from_millis(300);

impl Worker {
    /// Returns an object of the pod's namespace.
    fn object(&self, resource: &str, name: &str) -> Option<Value> {
        let resource = Resource::by_plural(resource)?;
        let state = self.shared.state();
        state.get(&key(resource, &self.key.1, name)).cloned()
    }

    pub(super) fn provide_volumes(&mut self) -> Result<(), End> {
        loop {
            let claims = self.node.folder.join("claims").join(&self.key.1);
            let object = |resource: &str, name: &str| self.object(resource, name);
            let source = Source {
                pod: &self.pod,
                object: &object,
            };
            match volumes::provide(&source, &self.folder.join("volumes"), &claims) {
                Ok(paths) => {
                    self.volumes = paths;
                    return Ok(());
                }
                Err(problem) => self.event("Warning", "FailedMount", &problem),
            }
            self.wait_until(Instant::now() + MOUNT_RETRY)?;
        }
    }

    /// Starts the container that holds the network and process namespaces of the others.
    pub(super) fn start_sandbox(&mut self) -> Result<(), End> {
        let shares_processes = self.pod["spec"]["shareProcessNamespace"] == true;
        let host_network = uses_host_network(&self.pod);
        if host_network && !shares_processes {
            return Ok(());
        }
        let aliases = self.pod["spec"]["hostAliases"].as_array();
        let aliases = aliases.into_iter().flatten().flat_map(|alias| {
            let names = alias["hostnames"].as_array().into_iter().flatten();
            let address = alias["ip"].as_str().unwrap_or_default();
            names.map(move |name| format!("{}:{address}", name.as_str().unwrap_or_default()))
        });
        let aliases: Vec<String> = aliases.collect();
        let mut spec = json!({
            "Image": self.node.pause_image, "Cmd": ["sleep", "2147483647"],
            "Labels": self.labels("POD"), "HostConfig": { "ExtraHosts": aliases },
        });
        if host_network {
            spec["HostConfig"]["NetworkMode"] = "host".into();
        } else {
            let length = self.key.2.len().min(63);
            spec["Hostname"] = self.key.2[..length].trim_end_matches(['-', '.']).into();
        }
        loop {
            match self.run_container("POD", &spec) {
                Ok(id) => {
                    if !host_network {
                        self.address = self.address_of(&id);
                    }
                    self.sandbox = Some(id);
                    return Ok(());
                }
                Err(waiting) => {
                    self.event("Warning", "FailedCreatePodSandBox", &waiting.message);
                }
            }
            self.wait_until(Instant::now() + RETRY)?;
        }
    }

    fn address_of(&self, sandbox: &str) -> String {
        let found = self.node.engine.get(&format!("/containers/{sandbox}/json"));
        let networks = found.unwrap_or_default()["NetworkSettings"]["Networks"].clone();
        let mut networks = networks.as_object().into_iter().flatten();
        let address =
            networks.find_map(|(_, network)| network["IPAddress"].as_str().map(str::to_owned));
        address.unwrap_or_default()
    }

    fn labels(&self, container: &str) -> Value {
        json!({
            "io.kubernetes.container.name": container,
            "io.kubernetes.pod.name": self.key.2,
            "io.kubernetes.pod.namespace": self.key.1,
            "io.kubernetes.pod.uid": self.uid,
        })
    }

    /// Starts a container as soon as that is possible.
    pub(super) fn start(&mut self, index: usize) -> Result<(), End> {
        let mut pause = RETRY;
        loop {
            let Err(waiting) = self.try_start(index) else {
                self.publish();
                return Ok(());
            };
            let image = self.containers[index].spec["image"].clone();
            let container = &mut self.containers[index];
            if waiting.reason == "StartError" {
                container.killed_as = Some("StartError");
                let id = container.id.clone().unwrap_or_default();
                // The last words become the message of the status.
                let _ = fs::write(self.termination_log(index), &waiting.message);
                self.event("Warning", "Failed", &format!("Error: {}", waiting.message));
                let state = json!({ "ExitCode": 128 });
                let _ = self.sender.send(Order::Exited(index, id, state));
                return Ok(());
            }
            container.wait_for(waiting.reason, &waiting.message);
            self.publish();
            if waiting.reason == "ErrImagePull" {
                self.wait_until(Instant::now() + Duration::from_millis(300))?;
                let message = format!("Back-off pulling image {image}");
                self.event("Normal", "BackOff", &message);
                let message = format!("{message}: ErrImagePull: {}", waiting.message);
                self.containers[index].wait_for("ImagePullBackOff", &message);
                self.publish();
            } else {
                self.event("Warning", "Failed", &format!("Error: {}", waiting.message));
            }
            self.wait_until(Instant::now() + pause)?;
            pause = (pause * 2).min(RETRY * 8);
        }
    }

    fn try_start(&mut self, index: usize) -> Result<(), Waiting> {
        let spec = self.containers[index].spec.clone();
        let logins = self.pod["spec"]["imagePullSecrets"].as_array();
        let logins = logins.into_iter().flatten();
        let logins = logins.filter_map(|login| self.object("secrets", login["name"].as_str()?));
        let logins: Vec<Value> = logins.collect();
        let image = images::provide(
            &self.node.engine,
            &spec,
            &logins,
            |severity, reason, message| {
                self.event(severity, reason, message);
            },
        )?;
        self.containers[index].image_id = format!("docker-pullable://{image}");

        let around = self.surroundings(index, &spec)?;
        let name = spec["name"].as_str().unwrap_or_default();
        let id = self.create(name, &spec_of(&spec, &around))?;
        self.containers[index].id = Some(id.clone());
        self.event("Normal", "Created", &format!("Created container: {name}"));
        self.run_created(&id)?;
        self.event("Normal", "Started", &format!("Started container {name}"));

        let container = &mut self.containers[index];
        container.state = json!({ "running": { "startedAt": now() } });
        container.runs = Arc::new(AtomicBool::new(true));
        self.watch_exit(index, &id);
        let target = Target {
            engine: self.node.engine.clone(),
            id,
            address: self.address.clone(),
            spec,
            index,
            runs: Arc::clone(&self.containers[index].runs),
        };
        target.watch(self.sender.clone());
        Ok(())
    }

    fn surroundings(&self, index: usize, spec: &Value) -> Result<Surroundings, Waiting> {
        let mut pod = self.pod.clone();
        pod["status"]["podIP"] = self.address.clone().into();
        pod["status"]["hostIP"] = "127.0.0.1".into();
        let object = |resource: &str, name: &str| self.object(resource, name);
        let source = Source {
            pod: &pod,
            object: &object,
        };
        let variables = source.variables(spec)?;
        let log = self.termination_log(index);
        fs::create_dir_all(&self.folder)
            .and_then(|()| fs::write(&log, ""))
            .and_then(|()| fs::set_permissions(&log, Permissions::from_mode(0o666)))
            .map_err(|error| Waiting::new("CreateContainerError", error.to_string()))?;
        Ok(Surroundings {
            variables,
            volumes: self.volumes.clone(),
            sandbox: self.sandbox.clone(),
            shares_processes: pod["spec"]["shareProcessNamespace"] == true,
            termination_log: log,
            labels: self.labels(spec["name"].as_str().unwrap_or_default()),
            pod,
        })
    }

    fn run_container(&self, name: &str, spec: &Value) -> Result<String, Waiting> {
        let id = self.create(name, spec)?;
        self.run_created(&id)
            .inspect_err(|_| self.node.engine.remove(&id))?;
        Ok(id)
    }

    fn create(&self, name: &str, spec: &Value) -> Result<String, Waiting> {
        let number = self.shared.state().next_number();
        let name = format!("{}-{}-{name}-{number}", self.node.prefix, self.key.2);
        let path = format!("/containers/create?name={name}");
        let created = self.node.engine.post(&path, Some(spec));
        let created =
            created.map_err(|error| Waiting::new("CreateContainerError", error.message))?;
        Ok(created["Id"].as_str().unwrap_or_default().to_owned())
    }

    fn run_created(&self, id: &str) -> Result<(), Waiting> {
        let started = self
            .node
            .engine
            .post(&format!("/containers/{id}/start"), None);
        started.map(drop).map_err(|error| {
            let message = format!("failed to create containerd task: {}", error.message);
            Waiting::new("StartError", message)
        })
    }

    /// Sends a message when a container ends.
    fn watch_exit(&self, index: usize, id: &str) {
        let (engine, sender, id) = (self.node.engine.clone(), self.sender.clone(), id.to_owned());
        thread::spawn(move || {
            let _ = engine.post(&format!("/containers/{id}/wait"), None);
            let state = engine.get(&format!("/containers/{id}/json"));
            let state = state.unwrap_or_default()["State"].clone();
            let _ = sender.send(Order::Exited(index, id, state));
        });
    }
}
