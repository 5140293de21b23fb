//! A container of a pod.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use serde_json::{Value, json};

use super::environment::expand;
use super::privileged;
use crate::world::cluster::quantity;
use crate::world::cluster::store::now;

/// The role of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Runs to completion before the next one starts.
    Init,
    /// Starts before the next one and runs until the pod ends.
    Sidecar,
    /// Determines when the pod ends.
    Main,
}

/// A container with its status.
pub struct Container {
    pub spec: Value,
    pub role: Role,
    /// The ID in the engine.
    pub id: Option<String>,
    /// The ID of the last run before this one.
    pub previous: Option<String>,
    pub image_id: String,
    /// `state` of its status: one of `waiting`, `running` and `terminated`.
    pub state: Value,
    pub last_state: Value,
    pub restarts: u64,
    pub is_started: bool,
    pub is_ready: bool,
    pub restart_at: Option<Instant>,
    /// Reason to report instead of the engine's for the next exit.
    pub killed_as: Option<&'static str>,
    /// Cleared when this run ends, which ends its probes.
    pub runs: Arc<AtomicBool>,
}

impl Container {
    /// Returns a container that was not started.
    pub fn new(spec: &Value, role: Role, waits_for_others: bool) -> Self {
        let reason = if waits_for_others {
            "PodInitializing"
        } else {
            "ContainerCreating"
        };
        Self {
            spec: spec.clone(),
            role,
            id: None,
            previous: None,
            image_id: String::new(),
            state: json!({ "waiting": { "reason": reason } }),
            last_state: json!({}),
            restarts: 0,
            is_started: false,
            is_ready: false,
            restart_at: None,
            killed_as: None,
            runs: Arc::default(),
        }
    }

    /// Returns its name.
    pub fn name(&self) -> &str {
        self.spec["name"].as_str().unwrap_or_default()
    }

    /// Returns whether it runs.
    pub fn is_running(&self) -> bool {
        !self.state["running"].is_null()
    }

    /// Returns the exit code if it has ended.
    pub fn exit_code(&self) -> Option<i64> {
        self.state["terminated"]["exitCode"].as_i64()
    }

    /// Sets the reason why it is not running.
    pub fn wait_for(&mut self, reason: &str, message: &str) {
        self.state = json!({ "waiting": { "reason": reason, "message": message } });
    }

    /// Records that it has ended.
    pub fn ended(&mut self, exit_code: i64, reason: &str, message: &str) {
        let started = match &self.state["running"]["startedAt"] {
            Value::Null => now().into(),
            started => started.clone(),
        };
        let id = self.id.as_deref().unwrap_or_default();
        let mut end = json!({
            "exitCode": exit_code, "reason": reason, "startedAt": started, "finishedAt": now(),
            "containerID": format!("docker://{id}"),
        });
        if !message.is_empty() {
            end["message"] = message.into();
        }
        self.state = json!({ "terminated": end });
        self.is_ready = self.role == Role::Init && exit_code == 0;
        self.is_started = false;
    }

    /// Returns its entry in the status of the pod.
    pub fn status(&self) -> Value {
        let id = self.id.as_ref().map(|id| format!("docker://{id}"));
        let mut status = json!({
            "name": self.spec["name"], "image": self.spec["image"], "imageID": self.image_id,
            "ready": self.is_ready, "started": self.is_started, "restartCount": self.restarts,
            "state": self.state, "lastState": self.last_state,
        });
        if let Some(id) = id {
            status["containerID"] = id.into();
        }
        status
    }
}

/// What a container gets from its pod.
pub struct Surroundings {
    pub pod: Value,
    pub sandbox: Option<String>,
    pub shares_processes: bool,
    pub variables: BTreeMap<String, String>,
    pub volumes: BTreeMap<String, PathBuf>,
    /// The file for its last words.
    pub termination_log: PathBuf,
    pub labels: Value,
}

/// Returns the engine's description of a container.
pub fn spec_of(container: &Value, around: &Surroundings) -> Value {
    let variables: Vec<String> = around
        .variables
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    // Null means that of the image.
    let words = |value: &Value| -> Option<Vec<String>> {
        let words = value.as_array()?.iter().filter_map(Value::as_str);
        Some(words.map(|word| expand(word, &around.variables)).collect())
    };
    let mut host = json!({
        "Binds": binds(container, around),
        "NetworkMode": network(around),
    });
    if around.shares_processes
        && let Some(sandbox) = &around.sandbox
    {
        host["PidMode"] = format!("container:{sandbox}").into();
    }
    let mut spec = json!({
        "Image": container["image"], "Env": variables, "Labels": around.labels,
        "Entrypoint": words(&container["command"]), "Cmd": words(&container["args"]),
    });
    if let Some(folder) = container["workingDir"].as_str() {
        spec["WorkingDir"] = folder.into();
    }
    secure(
        container,
        &around.pod["spec"]["securityContext"],
        &mut spec,
        &mut host,
    );
    limit(&container["resources"]["limits"], &mut host);
    spec["HostConfig"] = host;
    spec
}

fn network(around: &Surroundings) -> String {
    match &around.sandbox {
        Some(sandbox) if !super::uses_host_network(&around.pod) => format!("container:{sandbox}"),
        _ => "host".to_owned(),
    }
}

fn binds(container: &Value, around: &Surroundings) -> Vec<String> {
    let mounts = container["volumeMounts"].as_array().into_iter().flatten();
    let mut binds: Vec<String> = mounts
        .filter_map(|mount| {
            let volume = around.volumes.get(mount["name"].as_str()?)?;
            let path = match mount["subPath"].as_str() {
                Some(part) => volume.join(part),
                None => volume.clone(),
            };
            let name = &mount["name"];
            let volumes = around.pod["spec"]["volumes"].as_array()?;
            let of = volumes.iter().find(|volume| volume["name"] == *name)?;
            let is_fixed = ["secret", "configMap", "projected", "downwardAPI"]
                .iter()
                .any(|kind| !of[kind].is_null());
            let mode = if is_fixed || mount["readOnly"] == true {
                "ro"
            } else {
                "rw"
            };
            let propagation = match mount["mountPropagation"].as_str() {
                Some("Bidirectional") => ",rshared",
                Some("HostToContainer") => ",rslave",
                _ => "",
            };
            let target = mount["mountPath"].as_str()?;
            Some(format!("{}:{target}:{mode}{propagation}", path.display()))
        })
        .collect();
    let log = container["terminationMessagePath"]
        .as_str()
        .unwrap_or("/dev/termination-log");
    binds.push(format!("{}:{log}", around.termination_log.display()));
    binds
}

fn secure(container: &Value, of_pod: &Value, spec: &mut Value, host: &mut Value) {
    let own = &container["securityContext"];
    let setting = |name: &str| match &own[name] {
        Value::Null => &of_pod[name],
        value => value,
    };
    if let Some(user) = setting("runAsUser").as_u64() {
        let group = setting("runAsGroup").as_u64().unwrap_or(0);
        spec["User"] = format!("{user}:{group}").into();
    }
    let groups = of_pod["supplementalGroups"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let groups = groups.iter().chain([&of_pod["fsGroup"]]);
    let groups = groups.filter(|group| group.is_u64());
    host["GroupAdd"] = groups.map(|group| Value::from(group.to_string())).collect();
    host["ReadonlyRootfs"] = (own["readOnlyRootFilesystem"] == true).into();
    host["CapAdd"] = own["capabilities"]["add"].clone();
    host["CapDrop"] = own["capabilities"]["drop"].clone();
    if own["privileged"] == true {
        privileged::allow(host);
    }
}

fn limit(limits: &Value, host: &mut Value) {
    if let Some(bytes) = quantity::parse(&limits["memory"]) {
        host["Memory"] = (bytes as u64).into();
        host["MemorySwap"] = (bytes as u64).into();
    }
    if let Some(processors) = quantity::parse(&limits["cpu"]) {
        host["NanoCpus"] = ((processors * 1e9) as u64).into();
    }
}
