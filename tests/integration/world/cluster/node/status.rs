//! The status of a pod, as its node reports it.

use serde_json::{Value, json};

use super::container::Role;
use super::worker::Worker;
use crate::world::cluster::store::now;

impl Worker {
    /// Writes the status into the object.
    pub(super) fn publish(&self) {
        let status = self.status();
        self.shared.change_pod(&self.key, &self.uid, |pod| {
            let before = std::mem::replace(&mut pod["status"], status);
            let started = match &before["startTime"] {
                Value::Null => now().into(),
                started => started.clone(),
            };
            pod["status"]["startTime"] = started;
            keep_conditions(&mut pod["status"], &before);
        });
    }

    fn status(&self) -> Value {
        let is_initialized = self
            .containers
            .iter()
            .all(|container| match container.role {
                Role::Init => container.exit_code() == Some(0),
                Role::Sidecar => container.is_started || self.is_ending,
                Role::Main => true,
            });
        let has_begun = self
            .mains()
            .any(|main| main.id.is_some() || main.previous.is_some());
        let (phase, reason, message) = match &self.outcome {
            Some((phase, reason, message)) => (*phase, *reason, message.as_str()),
            None if is_initialized && has_begun => ("Running", "", ""),
            None => ("Pending", "", ""),
        };
        let is_ready = self.outcome.is_none()
            && self
                .containers
                .iter()
                .all(|container| container.role == Role::Init || container.is_ready);
        let condition = |of: &str, holds: bool| {
            let status = if holds { "True" } else { "False" };
            json!({ "type": of, "status": status, "lastTransitionTime": now() })
        };
        let statuses = |is_main: bool| -> Vec<Value> {
            let all = self.containers.iter();
            let meant = all.filter(|container| (container.role == Role::Main) == is_main);
            meant.map(|container| container.status()).collect()
        };
        let mut status = json!({
            "phase": phase,
            "qosClass": "BestEffort",
            "hostIP": "127.0.0.1",
            "podIP": self.address,
            "conditions": [
                condition("PodReadyToStartContainers", has_begun),
                condition("Initialized", is_initialized),
                condition("Ready", is_ready),
                condition("ContainersReady", is_ready),
                condition("PodScheduled", true),
            ],
            "containerStatuses": statuses(true),
        });
        let init = statuses(false);
        if !init.is_empty() {
            status["initContainerStatuses"] = init.into();
        }
        for (name, text) in [("reason", reason), ("message", message)] {
            if !text.is_empty() {
                status[name] = text.into();
            }
        }
        status
    }
}

/// Keeps the times of unchanged conditions, and the conditions that the node does not know.
fn keep_conditions(status: &mut Value, before: &Value) {
    let Some(conditions) = status["conditions"].as_array_mut() else {
        return;
    };
    for old in before["conditions"].as_array().into_iter().flatten() {
        match conditions.iter_mut().find(|new| new["type"] == old["type"]) {
            Some(new) if new["status"] == old["status"] => *new = old.clone(),
            Some(_) => {}
            None => conditions.push(old.clone()),
        }
    }
}
