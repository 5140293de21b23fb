//! The scheduler: assigns pods to nodes, unless they fit on none.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::resources::Resource;
use super::store::{Key, State, key, now};
use super::{events, quantity};

/// The size of each of the three nodes.
const PROCESSORS: f64 = 64.0;
const MEMORY: f64 = 256.0 * 1_073_741_824.0;

const NODE_LABELS: &[(&str, &str)] = &[
    ("kubernetes.io/arch", "amd64"),
    ("kubernetes.io/os", "linux"),
];

/// Assigns new pods to nodes.
pub fn work(state: &mut State, touched: &BTreeSet<Key>) {
    for key in touched.iter().filter(|key| key.0 == "pods") {
        let Some(mut pod) = state.get(key).cloned() else {
            continue;
        };
        let rules = state.rules.get(&key.1);
        let runs = state.runtime_of(&key.1).is_some();
        let is_ours = pod["metadata"]["annotations"]["test/workload"].is_null();
        let is_deleted = !pod["metadata"]["deletionTimestamp"].is_null();
        if !runs || !is_ours || is_deleted || !pod["spec"]["nodeName"].is_null() {
            continue;
        }
        let held = rules.and_then(|rules| rules.unschedulable.clone());
        let problem = held.or_else(|| problem(state, &key.1, &pod));
        match problem {
            Some(message) => {
                set_condition(&mut pod, "False", &message);
                let pod = state.put(key, pod);
                if !has_event(state, &pod, &message) {
                    let source = "default-scheduler";
                    events::add(state, &pod, source, "Warning", "FailedScheduling", &message);
                }
            }
            None => {
                let node = format!("node-{}", state.next_number() % 3 + 1);
                pod["spec"]["nodeName"] = node.as_str().into();
                set_condition(&mut pod, "True", "");
                let pod = state.put(key, pod);
                let (namespace, name) = (&key.1, &key.2);
                let message = format!("assigned {namespace}/{name} to {node}");
                let message = format!("Successfully {message}");
                events::add(
                    state,
                    &pod,
                    "default-scheduler",
                    "Normal",
                    "Scheduled",
                    &message,
                );
            }
        }
    }
}

/// Makes the scheduler look at the pending pods of a namespace again.
pub fn retry(state: &mut State, namespace: &str) {
    let pods = state.list("pods", namespace).into_iter();
    let pending = pods.filter(|(_, pod)| pod["spec"]["nodeName"].is_null());
    for key in pending.map(|(key, _)| key.clone()).collect::<Vec<_>>() {
        state.touch(&key);
    }
}

fn has_event(state: &State, pod: &Value, message: &str) -> bool {
    let namespace = pod["metadata"]["namespace"].as_str().unwrap_or_default();
    let name = pod["metadata"]["name"].as_str().unwrap_or_default();
    let events = state.list_with_prefix("events", namespace, &format!("{name}."));
    events.iter().any(|(_, event)| event["message"] == message)
}

fn set_condition(pod: &mut Value, status: &str, message: &str) {
    let mut condition =
        json!({ "type": "PodScheduled", "status": status, "lastTransitionTime": now() });
    if !message.is_empty() {
        condition["reason"] = "Unschedulable".into();
        condition["message"] = message.into();
    }
    let before = &pod["status"]["conditions"][0];
    if before["status"] == condition["status"] && before["message"] == condition["message"] {
        return;
    }
    pod["status"]["phase"] = "Pending".into();
    pod["status"]["conditions"] = json!([condition]);
}

/// Returns why a pod fits on no node.
fn problem(state: &State, namespace: &str, pod: &Value) -> Option<String> {
    let spec = &pod["spec"];
    let of_all = |what: &str| {
        format!(
            "0/3 nodes are available: 3 {what}. preemption: 0/3 nodes are available: 3 Preemption is \
             not helpful for scheduling."
        )
    };
    let claims = Resource::by_plural("persistentvolumeclaims").expect("it is known");
    for volume in spec["volumes"].as_array().into_iter().flatten() {
        let Some(name) = volume["persistentVolumeClaim"]["claimName"].as_str() else {
            continue;
        };
        if state.get(&key(claims, namespace, name)).is_none() {
            return Some(format!(
                "0/3 nodes are available: persistentvolumeclaim {name:?} not found. preemption: 0/3 \
                 nodes are available: 3 Preemption is not helpful for scheduling."
            ));
        }
    }
    let has = |name: &str, value: &Value| {
        NODE_LABELS
            .iter()
            .any(|(label, of_node)| name == *label && value == of_node)
    };
    let mut wanted = spec["nodeSelector"].as_object().into_iter().flatten();
    if !wanted.all(|(name, value)| has(name, value)) {
        return Some(of_all("node(s) didn't match Pod's node affinity/selector"));
    }
    let requested = |resource: &str| -> f64 {
        let containers = spec["containers"].as_array().into_iter().flatten();
        let amounts = containers.filter_map(|container| {
            let resources = &container["resources"];
            quantity::parse(&resources["requests"][resource])
                .or_else(|| quantity::parse(&resources["limits"][resource]))
        });
        amounts.sum()
    };
    if requested("cpu") > PROCESSORS {
        return Some(of_all("Insufficient cpu"));
    }
    (requested("memory") > MEMORY).then(|| of_all("Insufficient memory"))
}
