//! The life of a pod.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::container::{Container, Role};
use super::probes::Finding;
use super::{Node, Order};
use crate::world::cluster::store::Key;
use crate::world::cluster::{Shared, events};

/// The pause before the first restart of a container; it doubles with each one.
const BACK_OFF: Duration = Duration::from_millis(500);
const MAX_BACK_OFF: Duration = Duration::from_secs(10);

/// The thread of a pod.
pub struct Worker {
    pub(super) shared: Arc<Shared>,
    pub(super) node: Arc<Node>,
    pub(super) key: Key,
    pub(super) uid: String,
    /// The object as it was when the pod started.
    pub(super) pod: Value,
    pub(super) sender: Sender<Order>,
    pub(super) orders: Receiver<Order>,
    pub(super) folder: PathBuf,
    pub(super) volumes: BTreeMap<String, PathBuf>,
    pub(super) sandbox: Option<String>,
    pub(super) address: String,
    pub(super) containers: Vec<Container>,
    pub(super) deadline: Option<Instant>,
    /// Containers are not restarted from here on.
    pub(super) is_ending: bool,
    /// The object is to be removed.
    pub(super) is_deleted: bool,
    /// The final phase, reason and message.
    pub(super) outcome: Option<(&'static str, &'static str, String)>,
}

/// Why a pod ends.
#[derive(Debug)]
pub(super) enum End {
    /// Its containers have ended.
    Finished,
    /// An init container has failed.
    InitFailed,
    /// It exceeded its deadline.
    Deadline,
    Deleted(Duration),
    Evicted(String),
    Lost(Duration),
}

impl Worker {
    pub(super) fn new(
        shared: Arc<Shared>,
        node: Arc<Node>,
        key: Key,
        pod: &Value,
        sender: Sender<Order>,
        orders: Receiver<Order>,
    ) -> Self {
        let mut pod = pod.clone();
        if node.host_network {
            pod["spec"]["hostNetwork"] = true.into();
        }
        let uid = pod["metadata"]["uid"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let list = |name: &str| pod["spec"][name].as_array().cloned().unwrap_or_default();
        let role_of = |spec: &Value| match spec["restartPolicy"].as_str() {
            Some("Always") => Role::Sidecar,
            _ => Role::Init,
        };
        let init = list("initContainers");
        let has_init = !init.is_empty();
        let init = init
            .iter()
            .map(|spec| Container::new(spec, role_of(spec), true));
        let main = list("containers");
        let main = main
            .iter()
            .map(|spec| Container::new(spec, Role::Main, has_init));
        let containers = init.chain(main).collect();
        let seconds = pod["spec"]["activeDeadlineSeconds"].as_u64();
        Self {
            folder: node.folder.join("pods").join(&uid),
            shared,
            node,
            key,
            uid,
            deadline: seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds)),
            pod,
            sender,
            orders,
            volumes: BTreeMap::new(),
            sandbox: None,
            address: "127.0.0.1".to_owned(),
            containers,
            is_ending: false,
            is_deleted: false,
            outcome: None,
        }
    }

    /// Runs the pod until its object is removed.
    pub(super) fn run(mut self) {
        let end = self.live().err().unwrap_or(End::Finished);
        self.end(end);
        while !self.is_deleted {
            // It waits as long as its object exists, because of the logs.
            match self.orders.recv() {
                Ok(Order::Delete(_)) | Err(_) => self.is_deleted = true,
                Ok(_) => {}
            }
        }
    }

    fn live(&mut self) -> Result<(), End> {
        self.publish();
        self.provide_volumes()?;
        self.start_sandbox()?;
        for index in 0..self.containers.len() {
            self.start(index)?;
            match self.containers[index].role {
                Role::Init => self.wait_for_exit(index)?,
                Role::Sidecar => {
                    while !self.containers[index].is_started {
                        self.next(None)?;
                    }
                }
                Role::Main => {}
            }
        }
        while self.mains().any(|main| main.exit_code().is_none()) {
            self.next(None)?;
        }
        Ok(())
    }

    pub(super) fn mains(&self) -> impl Iterator<Item = &Container> {
        let all = self.containers.iter();
        all.filter(|container| container.role == Role::Main)
    }

    fn wait_for_exit(&mut self, index: usize) -> Result<(), End> {
        loop {
            match self.containers[index].exit_code() {
                Some(0) => return Ok(()),
                Some(_) if self.restart_policy() == "Never" => return Err(End::InitFailed),
                _ => self.next(None)?,
            }
        }
    }

    fn restart_policy(&self) -> &str {
        self.pod["spec"]["restartPolicy"]
            .as_str()
            .unwrap_or("Always")
    }

    /// Waits until a point in time.
    pub(super) fn wait_until(&mut self, time: Instant) -> Result<(), End> {
        while Instant::now() < time {
            self.next(Some(time))?;
        }
        Ok(())
    }

    /// Waits for one message, or until a point in time.
    fn next(&mut self, time: Option<Instant>) -> Result<(), End> {
        let restarts = self.containers.iter().map(|container| container.restart_at);
        let due = restarts.chain([time, self.deadline]).flatten().min();
        let pause = due.map_or(Duration::from_secs(3600), |due| {
            due.saturating_duration_since(Instant::now())
        });
        if let Ok(order) = self.orders.recv_timeout(pause)
            && let Some(end) = self.obey(order)
        {
            return Err(end);
        }
        let now = Instant::now();
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            return Err(End::Deadline);
        }
        for index in 0..self.containers.len() {
            if self.containers[index]
                .restart_at
                .take_if(|time| *time <= now)
                .is_some()
            {
                self.containers[index].restarts += 1;
                self.start(index)?;
            }
        }
        Ok(())
    }

    /// Handles a message; returns why the pod ends.
    pub(super) fn obey(&mut self, order: Order) -> Option<End> {
        match order {
            Order::Delete(grace) => return Some(End::Deleted(grace)),
            Order::Evict(message) => return Some(End::Evicted(message)),
            Order::Lose(time) => return Some(End::Lost(time)),
            Order::Kill(name, reason) => {
                let named = self
                    .containers
                    .iter_mut()
                    .find(|container| container.name() == name);
                if let Some(container) = named {
                    container.killed_as = reason;
                    let id = container.id.clone().unwrap_or_default();
                    self.signal(&id, "KILL");
                }
            }
            Order::Exited(index, id, state)
                if self.containers[index].id.as_deref() == Some(&id) =>
            {
                self.ended(index, &state);
            }
            Order::Probed(index, id, finding)
                if self.containers[index].id.as_deref() == Some(&id)
                    && self.containers[index].is_running() =>
            {
                self.probed(index, finding);
            }
            Order::Exited(..) | Order::Probed(..) => return None,
        }
        self.publish();
        None
    }

    fn probed(&mut self, index: usize, finding: Finding) {
        let container = &mut self.containers[index];
        match finding {
            Finding::Started => container.is_started = true,
            Finding::Ready(is_ready) => container.is_ready = is_ready,
            Finding::Unhealthy(message) => {
                let id = container.id.clone().unwrap_or_default();
                self.event("Warning", "Unhealthy", &message);
                self.signal(&id, "KILL");
            }
        }
    }

    fn ended(&mut self, index: usize, state: &Value) {
        let policy = self.restart_policy().to_owned();
        let log = self.termination_log(index);
        let container = &mut self.containers[index];
        container.runs.store(false, Ordering::Relaxed);
        let code = state["ExitCode"].as_i64().unwrap_or(137);
        let reason = match container.killed_as.take() {
            Some(reason) => reason,
            None if state["OOMKilled"] == true => "OOMKilled",
            None if code == 0 => "Completed",
            None => "Error",
        };
        let words = fs::read_to_string(log).unwrap_or_default();
        container.ended(code, reason, &words);
        let restarts = !self.is_ending
            && match container.role {
                Role::Sidecar => true,
                Role::Init => code != 0 && policy != "Never",
                Role::Main => policy == "Always" || code != 0 && policy == "OnFailure",
            };
        if restarts {
            self.restart(index);
        }
    }

    /// Restarts a container after a pause.
    fn restart(&mut self, index: usize) {
        let name = self.key.2.clone();
        let container = &mut self.containers[index];
        let factor = 1 << container.restarts.min(6);
        let pause = (BACK_OFF * factor).min(MAX_BACK_OFF);
        container.last_state = container.state.clone();
        let message = format!(
            "back-off {pause:?} restarting failed container={} pod={name}",
            container.name()
        );
        container.wait_for("CrashLoopBackOff", &message);
        container.restart_at = Some(Instant::now() + pause);
        let removed = container.previous.take();
        container.previous = container.id.take();
        if let Some(removed) = removed {
            self.node.engine.remove(&removed);
        }
    }

    pub(super) fn signal(&self, id: &str, signal: &str) {
        // It may have ended by now.
        let path = format!("/containers/{id}/kill?signal={signal}");
        let _ = self.node.engine.post(&path, None);
    }

    pub(super) fn termination_log(&self, index: usize) -> PathBuf {
        let container = &self.containers[index];
        let name = format!("{}-{}.end", container.name(), container.restarts);
        self.folder.join(name)
    }

    pub(super) fn event(&self, severity: &str, reason: &str, message: &str) {
        let mut state = self.shared.state();
        events::add(&mut state, &self.pod, "kubelet", severity, reason, message);
        drop(state);
        self.shared.changed.notify_all();
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        for container in &self.containers {
            container.runs.store(false, Ordering::Relaxed);
            for id in container.id.iter().chain(&container.previous) {
                self.node.engine.remove(id);
            }
        }
        if let Some(sandbox) = &self.sandbox {
            self.node.engine.remove(sandbox);
        }
        let _ = fs::remove_dir_all(&self.folder);
        self.shared.remove_pod(&self.key, &self.uid);
    }
}
