//! The pods of a workload, as a node would report them.

use serde_json::{Value, json};

use super::controller::Outcome;
use super::events;
use super::resources::Resource;
use super::store::{Key, State, key, now};

/// Creates the pods of a rollout, which are not running yet.
pub fn create(
    state: &mut State,
    of: &Key,
    workload: &Value,
    owner: &Value,
    hash: &str,
    count: u64,
    outcome: Outcome,
) {
    let resource = Resource::by_plural("pods").expect("it is known");
    let template = &workload["spec"]["template"];
    let wanted: Vec<String> = (0..count)
        .map(|number| pod_name(of, hash, number))
        .collect();
    // There may be too many pods of the same template.
    for name in names(state, of, hash) {
        if !wanted.contains(&name) {
            state.delete(&key(resource, &of.1, &name), true);
        }
    }
    for name in wanted {
        let key = key(resource, &of.1, &name);
        if of.0 == "deployments" && state.get(&key).is_some() {
            continue;
        }
        state.delete(&key, true);
        let mut pod = json!({
            "metadata": {
                "labels": template["metadata"]["labels"],
                "annotations": template["metadata"]["annotations"],
                "ownerReferences": [owner],
            },
            "spec": template["spec"],
        });
        pod["metadata"]["labels"]["pod-template-hash"] = hash.into();
        if pod["metadata"]["annotations"].is_null() {
            pod["metadata"]["annotations"] = json!({});
        }
        pod["metadata"]["annotations"]["test/workload"] = format!("{}/{}", of.0, of.2).into();
        state.begin(resource, &of.1, &name, &mut pod);
        set_status(&mut pod, outcome, false);
        let pod = state.put(&key, pod);
        add_event(state, &pod, outcome);
    }
}

/// Makes the pods of a template ready, and removes those of other templates.
pub fn make_ready(state: &mut State, of: &Key, hash: &str) {
    let resource = Resource::by_plural("pods").expect("it is known");
    for name in names(state, of, "") {
        let key = key(resource, &of.1, &name);
        let Some(mut pod) = state.get(&key).cloned() else {
            continue;
        };
        if pod["metadata"]["labels"]["pod-template-hash"] == hash {
            set_status(&mut pod, Outcome::Succeeds, true);
            state.put(&key, pod);
        } else {
            state.delete(&key, true);
        }
    }
}

fn pod_name(of: &Key, hash: &str, number: u64) -> String {
    match of.0 {
        "statefulsets" => format!("{}-{number}", of.2),
        "deployments" => format!("{}-{hash}-pod{number:02}", of.2),
        _ => format!("{}-pod{number:02}", of.2),
    }
}

/// Returns the names of a workload's pods; with a hash, only those of that template.
fn names(state: &State, of: &Key, hash: &str) -> Vec<String> {
    let workload = format!("{}/{}", of.0, of.2);
    let pods = state.list("pods", &of.1).into_iter();
    let own = pods.filter(|(_, pod)| {
        let metadata = &pod["metadata"];
        metadata["annotations"]["test/workload"] == workload
            && (hash.is_empty() || metadata["labels"]["pod-template-hash"] == hash)
    });
    own.map(|(key, _)| key.2.clone()).collect()
}

fn set_status(pod: &mut Value, outcome: Outcome, ready: bool) {
    let containers = pod["spec"]["containers"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let is_job = pod["metadata"]["ownerReferences"][0]["kind"] == "Job";
    let statuses = containers.iter().map(|container| {
        let image = container["image"].as_str().unwrap_or_default();
        let state = match (outcome, ready) {
            (_, true) if is_job => json!({
                "terminated": { "exitCode": 0, "reason": "Completed", "finishedAt": now() },
            }),
            (_, true) => json!({ "running": { "startedAt": now() } }),
            (Outcome::PullFails, _) => json!({ "waiting": {
                "reason": "ImagePullBackOff", "message": format!("Back-off pulling image {image:?}"),
            } }),
            (Outcome::Crashes, _) => json!({ "waiting": {
                "reason": "CrashLoopBackOff",
                "message": format!(
                    "back-off 10s restarting failed container={} pod={}",
                    container["name"].as_str().unwrap_or_default(),
                    pod["metadata"]["name"].as_str().unwrap_or_default(),
                ),
            } }),
            _ => json!({ "waiting": { "reason": "ContainerCreating" } }),
        };
        let mut status = json!({
            "name": container["name"], "image": image, "imageID": if ready { image } else { "" },
            "ready": ready && !is_job, "started": ready,
            "restartCount": if outcome == Outcome::Crashes { 2 } else { 0 }, "state": state,
        });
        if outcome == Outcome::Crashes {
            let end = json!({ "exitCode": 1, "reason": "Error", "finishedAt": now() });
            status["lastState"] = json!({ "terminated": end });
        }
        status
    });
    let statuses: Vec<Value> = statuses.collect();
    let is_ready = if ready { "True" } else { "False" };
    let phase = match (ready, outcome) {
        (true, _) if is_job => "Succeeded",
        (true, _) | (_, Outcome::Crashes) => "Running",
        _ => "Pending",
    };
    let condition = |of: &str, status: &str| json!({ "type": of, "status": status });
    pod["status"] = json!({
        "phase": phase,
        "conditions": [
            condition("PodScheduled", "True"),
            condition("ContainersReady", is_ready),
            condition("Ready", is_ready),
        ],
        "containerStatuses": statuses,
    });
}

/// Adds the event that explains why a pod fails.
fn add_event(state: &mut State, pod: &Value, outcome: Outcome) {
    let image = pod["spec"]["containers"][0]["image"]
        .as_str()
        .unwrap_or_default();
    let (reason, message) = match outcome {
        Outcome::PullFails => (
            "Failed",
            format!("Failed to pull image {image:?}: {image}: not found"),
        ),
        Outcome::Crashes => ("BackOff", "Back-off restarting failed container".to_owned()),
        Outcome::Succeeds | Outcome::Hangs => return,
    };
    events::add(state, pod, "kubelet", "Warning", reason, &message);
}
