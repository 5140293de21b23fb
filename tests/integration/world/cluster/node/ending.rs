//! The end of a pod.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::Order;
use super::container::Role;
use super::worker::{End, Worker};
use crate::world::cluster::store::{now, time_in};

/// How long a killed container may take to end.
const KILL_TIMEOUT: Duration = Duration::from_secs(20);

impl Worker {
    /// Ends the containers, and reports the outcome.
    pub(super) fn end(&mut self, end: End) {
        self.is_ending = true;
        let of_pod = self.pod["spec"]["terminationGracePeriodSeconds"].as_u64();
        let of_pod = Duration::from_secs(of_pod.unwrap_or(30));
        let grace = match &end {
            End::Deleted(grace) => *grace,
            End::Evicted(_) | End::Lost(_) => Duration::ZERO,
            End::Finished | End::InitFailed | End::Deadline => of_pod,
        };
        if let End::Lost(time) = end {
            self.lose(time);
            return;
        }
        self.is_deleted = matches!(end, End::Deleted(_));
        if self.is_deleted {
            for name in self.running_names() {
                self.event("Normal", "Killing", &format!("Stopping container {name}"));
            }
        }
        self.stop_containers(grace);
        let succeeded = self.mains().all(|main| main.exit_code() == Some(0));
        self.outcome = Some(match end {
            End::Evicted(message) => {
                self.event("Warning", "Evicted", &message);
                self.add_disruption("TerminationByKubelet", &message);
                ("Failed", "Evicted", message)
            }
            End::Deadline => {
                let message = "Pod was active on the node longer than the specified deadline";
                ("Failed", "DeadlineExceeded", message.to_owned())
            }
            _ if succeeded => ("Succeeded", "", String::new()),
            _ => ("Failed", "", String::new()),
        });
        self.publish();
        // Podman removes it only after the containers that use it.
        if let Some(sandbox) = &self.sandbox {
            self.signal(sandbox, "KILL");
        }
    }

    fn running_names(&self) -> Vec<String> {
        let running = self
            .containers
            .iter()
            .filter(|container| container.is_running());
        running
            .map(|container| container.name().to_owned())
            .collect()
    }

    /// Stops the containers, the sidecars last and in reverse order, as the kubelet does.
    fn stop_containers(&mut self, grace: Duration) {
        let mut deadline = Instant::now() + grace;
        let indexes = 0..self.containers.len();
        let (sidecars, others): (Vec<usize>, Vec<usize>) =
            indexes.partition(|index| self.containers[*index].role == Role::Sidecar);
        self.stop(&others, &mut deadline);
        for sidecar in sidecars.into_iter().rev() {
            self.stop(&[sidecar], &mut deadline);
        }
    }

    fn stop(&mut self, indexes: &[usize], deadline: &mut Instant) {
        for index in indexes {
            let container = &self.containers[*index];
            if let (true, Some(id)) = (container.is_running(), container.id.clone()) {
                let rest = deadline.saturating_duration_since(Instant::now());
                let hook = &container.spec["lifecycle"]["preStop"]["exec"]["command"];
                if !hook.is_null() && !rest.is_zero() {
                    let _ = self.node.engine.execute(&id, hook, rest);
                }
                let signal = self.stop_signal(&id);
                self.signal(&id, if rest.is_zero() { "KILL" } else { &signal });
            }
        }
        self.wait_for_end(indexes, deadline);
        for index in indexes {
            let container = &self.containers[*index];
            if let (true, Some(id)) = (container.is_running(), container.id.clone()) {
                self.signal(&id, "KILL");
            }
        }
        self.wait_for_end(indexes, &mut (Instant::now() + KILL_TIMEOUT));
    }

    fn stop_signal(&self, id: &str) -> String {
        let found = self.node.engine.get(&format!("/containers/{id}/json"));
        let signal = found.unwrap_or_default()["Config"]["StopSignal"].clone();
        signal.as_str().unwrap_or("SIGTERM").to_owned()
    }

    fn wait_for_end(&mut self, indexes: &[usize], deadline: &mut Instant) {
        while indexes
            .iter()
            .any(|index| self.containers[*index].is_running())
        {
            let rest = deadline.saturating_duration_since(Instant::now());
            let Ok(order) = self.orders.recv_timeout(rest) else {
                return;
            };
            // Another deletion may shorten the grace period.
            if let Some(End::Deleted(grace)) = self.obey(order) {
                self.is_deleted = true;
                *deadline = (*deadline).min(Instant::now() + grace);
            }
        }
    }

    /// The status stays as it was, because the node cannot report it; then the object is removed.
    fn lose(&mut self, time: Duration) {
        for container in &self.containers {
            if let Some(id) = &container.id {
                self.node.engine.remove(id);
            }
        }
        self.shared.change_pod(&self.key, &self.uid, |pod| {
            pod["metadata"]["deletionTimestamp"] = time_in(Duration::from_secs(30)).into();
            pod["metadata"]["deletionGracePeriodSeconds"] = 30.into();
            pod["status"]["reason"] = "NodeLost".into();
            pod["status"]["message"] = "Node node-1 which was running pod is unresponsive".into();
            let conditions = pod["status"]["conditions"].as_array_mut();
            for condition in conditions.into_iter().flatten() {
                if condition["type"] == "Ready" {
                    condition["status"] = "False".into();
                    condition["lastTransitionTime"] = now().into();
                }
            }
        });
        let message = "Taint manager: deleting due to NoExecute taint";
        self.add_disruption("DeletionByTaintManager", message);
        let deadline = Instant::now() + time;
        loop {
            let rest = deadline.saturating_duration_since(Instant::now());
            match self.orders.recv_timeout(rest) {
                // Only a forced deletion can have an effect.
                Ok(Order::Delete(grace)) if grace.is_zero() => break,
                Ok(_) => {}
                Err(_) => break,
            }
        }
        self.shared.change_pod(&self.key, &self.uid, |pod| {
            pod["status"]["phase"] = "Failed".into();
        });
        self.is_deleted = true;
    }

    /// Adds the condition that explains an end that the pod did not cause.
    fn add_disruption(&self, reason: &str, message: &str) {
        let condition = json!({
            "type": "DisruptionTarget", "status": "True", "reason": reason, "message": message,
            "lastTransitionTime": now(),
        });
        self.shared
            .change_pod(&self.key, &self.uid, |pod| add_condition(pod, condition));
    }
}

fn add_condition(pod: &mut Value, condition: Value) {
    let conditions = &mut pod["status"]["conditions"];
    if !conditions.is_array() {
        *conditions = json!([]);
    }
    if let Some(conditions) = conditions.as_array_mut() {
        conditions.retain(|other| other["type"] != condition["type"]);
        conditions.push(condition);
    }
}
