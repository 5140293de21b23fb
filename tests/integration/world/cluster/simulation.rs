//! Pods without containers, for tests with many of them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::Shared;
use super::faults::Runtime;
use super::store::{Key, State, now};

/// The outcome of a simulated pod.
#[derive(Clone, Debug, Default)]
pub struct SimulatedRun {
    /// The output of its first container.
    pub log: String,
    pub exit_code: i64,
    /// How long it runs.
    pub time: Duration,
}

/// A simulated pod.
pub struct Simulation {
    pub run: SimulatedRun,
    key: Key,
    /// `None` if it has ended.
    due: Option<Instant>,
}

impl Simulation {
    /// Returns whether it has ended.
    pub fn is_over(&self) -> bool {
        self.due.is_none()
    }
}

type NewPod = (
    Key,
    Value,
    Arc<dyn Fn(&Value) -> SimulatedRun + Send + Sync>,
);

/// Returns the pods that were assigned to a node and are to be simulated.
pub fn new_pods<'a>(state: &State, touched: impl Iterator<Item = &'a Key>) -> Vec<NewPod> {
    let pods = touched.filter(|key| key.0 == "pods");
    let new = pods.filter_map(|key| {
        let Runtime::Simulation(run) = state.runtime_of(&key.1)? else {
            return None;
        };
        let pod = state.get(key)?;
        let is_known = state
            .simulations
            .contains_key(pod["metadata"]["uid"].as_str()?);
        let is_new = !pod["spec"]["nodeName"].is_null()
            && pod["metadata"]["annotations"]["test/workload"].is_null();
        (is_new && !is_known).then(|| (key.clone(), pod.clone(), Arc::clone(run)))
    });
    new.collect()
}

impl Shared {
    /// Starts simulated pods. Their functions are called without the lock, because they may read objects.
    pub(super) fn simulate(&self, pods: Vec<NewPod>) {
        for (key, pod, run) in pods {
            let run = run(&pod);
            let mut state = self.state();
            let uid = pod["metadata"]["uid"]
                .as_str()
                .unwrap_or_default()
                .to_owned();
            let due = Some(Instant::now() + run.time);
            set_status(&mut state, &key, None);
            let simulation = Simulation { run, key, due };
            state.simulations.insert(uid, simulation);
            self.changed.notify_all();
        }
    }
}

/// Ends the pods that are due, and returns when the next one is.
pub fn work(state: &mut State, now: Instant) -> Option<Instant> {
    let running = state.simulations.values_mut();
    let over = running.filter_map(|simulation| {
        simulation.due.take_if(|due| *due <= now)?;
        Some((simulation.key.clone(), simulation.run.exit_code))
    });
    for (key, exit_code) in over.collect::<Vec<_>>() {
        set_status(state, &key, Some(exit_code));
    }
    state
        .simulations
        .values()
        .filter_map(|simulation| simulation.due)
        .min()
}

fn set_status(state: &mut State, key: &Key, exit_code: Option<i64>) {
    let Some(mut pod) = state.get(key).cloned() else {
        return;
    };
    let before = &pod["status"];
    let started = match &before["startTime"] {
        Value::Null => now().into(),
        started => started.clone(),
    };
    let reason = if exit_code == Some(0) {
        "Completed"
    } else {
        "Error"
    };
    let container_state = match exit_code {
        None => json!({ "running": { "startedAt": started } }),
        Some(code) => json!({ "terminated": {
            "exitCode": code, "reason": reason, "startedAt": started, "finishedAt": now(),
        } }),
    };
    let containers = pod["spec"]["containers"].as_array().into_iter().flatten();
    let statuses: Vec<Value> = containers
        .map(|container| {
            json!({
                "name": container["name"], "image": container["image"], "imageID": container["image"],
                "ready": exit_code.is_none(), "started": exit_code.is_none(), "restartCount": 0,
                "state": container_state, "lastState": {},
            })
        })
        .collect();
    let phase = match exit_code {
        None => "Running",
        Some(0) => "Succeeded",
        Some(_) => "Failed",
    };
    let ready = if exit_code.is_none() { "True" } else { "False" };
    let condition = |of: &str, status: &str| json!({ "type": of, "status": status, "lastTransitionTime": now() });
    pod["status"] = json!({
        "phase": phase, "startTime": started, "hostIP": "127.0.0.1", "podIP": "127.0.0.1",
        "conditions": [
            condition("PodScheduled", "True"), condition("Initialized", "True"),
            condition("Ready", ready), condition("ContainersReady", ready),
        ],
        "containerStatuses": statuses,
    });
    state.put(key, pod);
}
