//! Simulates rollouts: creates pods and updates the status of workloads. Jobs of a namespace that runs pods have a real
//! controller.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::pods;
use super::resources::Resource;
use super::store::{Key, State, key, now, owner_reference};

/// The outcome of a rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All pods become ready.
    Succeeds,
    /// The image cannot be pulled.
    PullFails,
    /// The program exits immediately.
    Crashes,
    /// The pods keep creating their containers.
    Hangs,
}

/// A rollout, in progress or complete.
pub struct Rollout {
    /// Identifies the template and the number of pods.
    of: String,
    /// `None` if it is complete or hangs.
    due: Option<Instant>,
    over: bool,
}

/// Does all work that is due, and returns the time until the next.
pub fn work(state: &mut State) -> Duration {
    let now = Instant::now();
    let mut pause = Duration::from_secs(1);
    for plural in ["deployments", "statefulsets", "daemonsets", "jobs"] {
        // There may be many Jobs that another controller runs.
        let is_simulated = |key: &Key| plural != "jobs" || state.runtime_of(&key.1).is_none();
        let listed = state.list(plural, "").into_iter();
        let keys = listed.filter(|(key, _)| is_simulated(key));
        let keys: Vec<Key> = keys.map(|(key, _)| key.clone()).collect();
        for key in keys {
            if let Some(due) = reconcile(state, &key, now) {
                pause = pause.min(due.saturating_duration_since(now));
            }
        }
    }
    pause
}

/// Reconciles a workload, and returns when to do it again.
fn reconcile(state: &mut State, key: &Key, now: Instant) -> Option<Instant> {
    let mut workload = state.get(key)?.clone();
    let template = &workload["spec"]["template"];
    let hash = short_hash(template);
    let count = match key.0 {
        "daemonsets" | "jobs" => 1,
        _ => workload["spec"]["replicas"].as_u64().unwrap_or(1),
    };
    let rules = state.rules.entry(key.1.clone()).or_default();
    let text = template.to_string();
    let outcome = rules
        .outcomes
        .iter()
        .find(|(part, _)| text.contains(part.as_str()));
    let outcome = outcome.map_or(Outcome::Succeeds, |(_, outcome)| *outcome);
    let time = rules.rollout_time;
    let of = format!("{hash} {count}");

    let paused = workload["spec"]["paused"] == true;
    if state
        .rollouts
        .get(key)
        .is_none_or(|rollout| rollout.of != of)
        && !paused
    {
        let due = (outcome != Outcome::Hangs).then(|| now + time);
        state.rollouts.insert(
            key.clone(),
            Rollout {
                of,
                due,
                over: false,
            },
        );
        let owner = match key.0 {
            "deployments" => {
                let set = replica_set(state, key, &mut workload, &hash, count);
                owner_reference(&set)
            }
            _ => owner_reference(&workload),
        };
        pods::create(state, key, &workload, &owner, &hash, count, outcome);
        set_status(&mut workload, &hash, count, Phase::Begun);
    }
    let rollout = state.rollouts.get_mut(key)?;
    // A rollout that hung may continue.
    if !rollout.over && rollout.due.is_none() && outcome != Outcome::Hangs {
        rollout.due = Some(now);
    }
    let due = rollout.due.take_if(|due| *due <= now);
    let next = rollout.due;
    if due.is_some() {
        rollout.over = true;
        let phase = match outcome {
            Outcome::Succeeds => {
                pods::make_ready(state, key, &hash);
                Phase::Done
            }
            _ => Phase::Failed,
        };
        set_status(&mut workload, &hash, count, phase);
    }
    workload["status"]["observedGeneration"] = workload["metadata"]["generation"].clone();
    state.put(key, workload);
    next
}

#[derive(Clone, Copy, PartialEq)]
enum Phase {
    Begun,
    Done,
    Failed,
}

fn set_status(workload: &mut Value, hash: &str, count: u64, phase: Phase) {
    let name = workload["metadata"]["name"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let done = phase == Phase::Done;
    let ready = if done { count } else { 0 };
    let before = workload["status"].clone();
    match workload["kind"].as_str().unwrap_or_default() {
        "Deployment" => {
            // The old pods run until the new ones are ready.
            let old = if done {
                0
            } else {
                before["availableReplicas"].as_u64().unwrap_or(0)
            };
            let set = format!("{name}-{hash}");
            let (progressing, reason, message) = match phase {
                Phase::Begun => (
                    "True",
                    "ReplicaSetUpdated",
                    format!("ReplicaSet {set:?} is progressing."),
                ),
                Phase::Done => (
                    "True",
                    "NewReplicaSetAvailable",
                    format!("ReplicaSet {set:?} has successfully progressed."),
                ),
                Phase::Failed => (
                    "False",
                    "ProgressDeadlineExceeded",
                    format!("ReplicaSet {set:?} has timed out progressing."),
                ),
            };
            let available = ready + old;
            let (is_available, why, says) = match available > 0 || count == 0 {
                true => (
                    "True",
                    "MinimumReplicasAvailable",
                    "Deployment has minimum availability.",
                ),
                false => (
                    "False",
                    "MinimumReplicasUnavailable",
                    "Deployment does not have minimum availability.",
                ),
            };
            workload["status"] = json!({
                "replicas": count + old, "updatedReplicas": count,
                "readyReplicas": available, "availableReplicas": available,
                "unavailableReplicas": count - ready,
                "conditions": [
                    condition("Available", is_available, why, says),
                    condition("Progressing", progressing, reason, &message),
                ],
            });
        }
        "StatefulSet" => {
            let revision = format!("{name}-{hash}");
            let current = match &before["currentRevision"] {
                _ if done => json!(revision),
                Value::Null => json!(revision),
                current => current.clone(),
            };
            workload["status"] = json!({
                "replicas": count, "readyReplicas": ready, "availableReplicas": ready,
                "updatedReplicas": ready, "currentReplicas": ready,
                "currentRevision": current, "updateRevision": revision,
            });
        }
        "DaemonSet" => {
            workload["status"] = json!({
                "desiredNumberScheduled": count, "currentNumberScheduled": count,
                "numberMisscheduled": 0, "numberReady": ready,
                "updatedNumberScheduled": ready, "numberAvailable": ready,
            });
        }
        _ => {
            let conditions = match phase {
                Phase::Begun => json!([]),
                Phase::Done => json!([condition("Complete", "True", "CompletionsReached", "")]),
                Phase::Failed => json!([condition(
                    "Failed",
                    "True",
                    "BackoffLimitExceeded",
                    "Job has reached the specified backoff limit",
                )]),
            };
            workload["status"] = json!({
                "active": u64::from(phase == Phase::Begun), "succeeded": ready,
                "failed": u64::from(phase == Phase::Failed), "conditions": conditions,
            });
        }
    }
}

fn condition(of: &str, status: &str, reason: &str, message: &str) -> Value {
    json!({
        "type": of, "status": status, "reason": reason, "message": message,
        "lastUpdateTime": now(), "lastTransitionTime": now(),
    })
}

/// Creates the ReplicaSet of a Deployment's template, or sets the next revision on an existing one.
fn replica_set(
    state: &mut State,
    of: &Key,
    deployment: &mut Value,
    hash: &str,
    count: u64,
) -> Value {
    const REVISION: &str = "deployment.kubernetes.io/revision";
    let resource = Resource::by_plural("replicasets").expect("it is known");
    let uid = &deployment["metadata"]["uid"];
    let sets = state.list("replicasets", &of.1).into_iter();
    let own = sets.filter(|(_, set)| set["metadata"]["ownerReferences"][0]["uid"] == *uid);
    let own: Vec<(Key, Value)> = own.map(|(key, set)| (key.clone(), set.clone())).collect();
    let revision = |set: &Value| -> u64 {
        let text = set["metadata"]["annotations"][REVISION].as_str();
        text.and_then(|text| text.parse().ok()).unwrap_or(0)
    };
    let last = own.iter().map(|(_, set)| revision(set)).max().unwrap_or(0);
    let name = format!("{}-{hash}", of.2);
    let key = key(resource, &of.1, &name);
    let mut set = match own.iter().find(|(other, _)| *other == key) {
        Some((_, set)) => set.clone(),
        None => {
            let mut template = deployment["spec"]["template"].clone();
            template["metadata"]["labels"]["pod-template-hash"] = hash.into();
            let mut selector = deployment["spec"]["selector"].clone();
            selector["matchLabels"]["pod-template-hash"] = hash.into();
            let mut set = json!({
                "metadata": {
                    "labels": template["metadata"]["labels"],
                    "annotations": {},
                    "ownerReferences": [owner_reference(deployment)],
                },
                "spec": { "selector": selector, "template": template },
            });
            state.begin(resource, &of.1, &name, &mut set);
            set
        }
    };
    let number = match revision(&set) {
        // Only the number of pods changed.
        number if number == last && number > 0 => number,
        _ => last + 1,
    };
    set["spec"]["replicas"] = count.into();
    set["metadata"]["annotations"][REVISION] = number.to_string().into();
    deployment["metadata"]["annotations"][REVISION] = number.to_string().into();
    state.put(&key, set)
}

/// Returns a short hash of a value, as used in names by controllers. Empty values are ignored.
fn short_hash(value: &Value) -> String {
    let mut hasher = DefaultHasher::new();
    let mut sorted = value.clone();
    drop_empty(&mut sorted);
    sorted.sort_all_objects();
    sorted.to_string().hash(&mut hasher);
    format!("{:010x}", hasher.finish() & 0xff_ffff_ffff)
}

fn drop_empty(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.values_mut().for_each(drop_empty);
            members.retain(|_, member| !member.is_null() && *member != json!({}));
        }
        Value::Array(items) => items.iter_mut().for_each(drop_empty),
        _ => {}
    }
}
