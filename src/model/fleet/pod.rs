//! What the status of a pod says.

use serde_json::Value;

use super::CONTAINER;

/// Reasons of a pod's failure that are no failure of the unit: it is done again elsewhere.
const DISRUPTIONS: [&str; 9] = [
    "Evicted",
    "NodeLost",
    "NodeAffinity",
    "NodeShutdown",
    "Preempting",
    "Shutdown",
    "Terminated",
    "UnexpectedAdmissionError",
    "OutOfcpu",
];

/// Texts in the messages of image pulls for errors that a retry does not fix.
const FINAL_PULL_ERRORS: [&str; 8] = [
    "not found",
    "manifest unknown",
    "denied",
    "unauthorized",
    "does not exist",
    "no such image",
    "invalid reference",
    "authentication required",
];

/// The state of a worker's pod.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodState {
    pub name: String,
    /// Its unique id.
    pub uid: String,
    /// The unique id of its Job.
    pub job: String,
    /// The node that it runs on.
    pub node: Option<String>,
    /// Whether the worker runs or has run.
    pub is_started: bool,
    /// Why it does not run yet.
    pub waiting: Option<Waiting>,
    /// How the worker ended.
    pub ended: Option<PodEnd>,
    /// Why the cluster stopped it: it was evicted, or its node is gone.
    pub disrupted: Option<String>,
    /// Whether it is being deleted.
    pub is_deleted: bool,
}

/// Why a pod does not run yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// The reason, such as `Unschedulable: 0/3 nodes are available`.
    pub text: String,
    /// Whether it is a problem that should be shown at once, unlike the usual steps of starting.
    pub is_problem: bool,
    /// Whether an image cannot be pulled.
    pub is_pull: bool,
    /// Whether waiting cannot help.
    pub is_final: bool,
}

/// How the worker's container ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodEnd {
    pub code: i64,
    /// The reason, such as `OOMKilled`.
    pub reason: String,
    pub message: String,
}

impl PodState {
    /// Reads the state of a pod.
    pub fn of(pod: &Value) -> Self {
        let status = &pod["status"];
        let container = container(status, "containerStatuses", CONTAINER);
        let state = container.map_or(&Value::Null, |it| &it["state"]);
        let terminated = [state, container.map_or(&Value::Null, |it| &it["lastState"])]
            .into_iter()
            .map(|state| &state["terminated"])
            .find(|it| it.is_object());
        let ended = terminated.map(|it| PodEnd {
            code: it["exitCode"].as_i64().unwrap_or(-1),
            reason: text(&it["reason"]),
            message: text(&it["message"]),
        });
        let is_started = state["running"].is_object() || ended.is_some();
        Self {
            name: text(&pod["metadata"]["name"]),
            uid: text(&pod["metadata"]["uid"]),
            job: job(pod),
            node: pod["spec"]["nodeName"].as_str().map(str::to_owned),
            is_started,
            waiting: if is_started { None } else { waiting(pod) },
            ended,
            disrupted: disruption(status),
            is_deleted: pod["metadata"]["deletionTimestamp"].is_string(),
        }
    }

    /// Returns whether the pod has ended, in whatever way.
    pub fn is_over(&self) -> bool {
        self.ended.is_some() || self.disrupted.is_some()
    }
}

/// Returns the unique id of a pod's Job.
fn job(pod: &Value) -> String {
    let owners = pod["metadata"]["ownerReferences"].as_array();
    let mut owners = owners.into_iter().flatten();
    let owner = owners.find(|it| it["kind"] == "Job");
    owner.map(|it| text(&it["uid"])).unwrap_or_default()
}

/// Returns why the cluster stopped a pod.
fn disruption(status: &Value) -> Option<String> {
    let reason = text(&status["reason"]);
    if status["phase"] == "Failed" && DISRUPTIONS.contains(&reason.as_str()) {
        return Some(joined(&reason, &status["message"]));
    }
    let conditions = status["conditions"].as_array()?;
    let target = conditions
        .iter()
        .find(|it| it["type"] == "DisruptionTarget" && it["status"] == "True")?;
    Some(joined(&text(&target["reason"]), &target["message"]))
}

/// Returns why a pod does not run: its containers, or the scheduler.
fn waiting(pod: &Value) -> Option<Waiting> {
    let status = &pod["status"];
    let lists = ["initContainerStatuses", "containerStatuses"].into_iter();
    let statuses = lists.filter_map(|key| status[key].as_array()).flatten();
    let mut not_final = None;
    for container in statuses {
        let name = text(&container["name"]);
        let ended = &container["state"]["terminated"];
        if let Some(code) = ended["exitCode"].as_i64().filter(|code| *code != 0) {
            let reason = joined(&text(&ended["reason"]), &ended["message"]);
            let found = Waiting {
                text: format!("{name} exited with {code}: {reason}"),
                is_problem: true,
                is_pull: false,
                is_final: !is_sidecar(pod, &name),
            };
            if found.is_final {
                return Some(found);
            }
            not_final.get_or_insert(found);
            continue;
        }
        let waiting = &container["state"]["waiting"];
        let Some(reason) = waiting["reason"].as_str() else {
            continue;
        };
        let mut found = of_container(&name, reason, &waiting["message"]);
        let last = &container["lastState"]["terminated"]["exitCode"];
        if let Some(code) = last.as_i64() {
            found.text.push_str(&format!("; it exited with {code}"));
        }
        if found.is_problem {
            return Some(found);
        }
        not_final.get_or_insert(found);
    }
    let conditions = status["conditions"].as_array();
    let unscheduled = conditions
        .into_iter()
        .flatten()
        .find(|it| it["type"] == "PodScheduled" && it["status"] == "False");
    if let Some(condition) = unscheduled {
        return Some(Waiting {
            text: joined(&text(&condition["reason"]), &condition["message"]),
            is_problem: true,
            is_pull: false,
            is_final: false,
        });
    }
    not_final.or_else(|| {
        (status["phase"] == "Pending").then(|| Waiting {
            text: "Pending".to_owned(),
            is_problem: false,
            is_pull: false,
            is_final: false,
        })
    })
}

/// Returns whether a container is a native sidecar, which is started again whenever it ends.
fn is_sidecar(pod: &Value, name: &str) -> bool {
    let containers = pod["spec"]["initContainers"].as_array();
    let mut containers = containers.into_iter().flatten();
    containers.any(|it| it["name"] == name && it["restartPolicy"] == "Always")
}

fn of_container(name: &str, reason: &str, message: &Value) -> Waiting {
    let is_pull = matches!(
        reason,
        "ErrImagePull" | "ImagePullBackOff" | "InvalidImageName" | "ErrImageNeverPull"
    );
    let is_usual = matches!(reason, "ContainerCreating" | "PodInitializing");
    let detail = text(message);
    let lower = detail.to_lowercase();
    let is_final = match reason {
        "InvalidImageName" | "ErrImageNeverPull" => true,
        "ErrImagePull" | "ImagePullBackOff" => {
            FINAL_PULL_ERRORS.iter().any(|it| lower.contains(it))
        }
        _ => false,
    };
    Waiting {
        text: format!("{name}: {}", joined(reason, message)),
        is_problem: !is_usual,
        is_pull,
        is_final,
    }
}

fn container<'s>(status: &'s Value, list: &str, name: &str) -> Option<&'s Value> {
    let statuses = status[list].as_array()?;
    statuses.iter().find(|it| it["name"] == name)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().trim().to_owned()
}

fn joined(reason: &str, message: &Value) -> String {
    match (reason, text(message)) {
        ("", message) => message,
        (reason, message) if message.is_empty() => reason.to_owned(),
        (reason, message) => format!("{reason}: {message}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_scheduler_is_quoted() {
        let pod = PodState::of(
            &json!({"metadata": {"name": "p"}, "status": {"phase": "Pending",
            "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
                "message": "0/3 nodes are available: 3 Insufficient cpu."}]}}),
        );
        let waiting = pod.waiting.unwrap();
        assert_eq!(
            waiting.text,
            "Unschedulable: 0/3 nodes are available: 3 Insufficient cpu."
        );
        assert!(waiting.is_problem && !waiting.is_final);
    }

    #[test]
    fn some_pulls_cannot_succeed() {
        let waiting = |reason: &str, message: &str| {
            let pod = json!({"status": {"phase": "Pending", "containerStatuses": [
                {"name": "xp", "state": {"waiting": {"reason": reason, "message": message}}}]}});
            PodState::of(&pod).waiting.unwrap()
        };
        assert!(waiting("ErrImagePull", "manifest unknown").is_final);
        assert!(waiting("InvalidImageName", "").is_final);
        let slow = waiting("ImagePullBackOff", "i/o timeout");
        assert!(slow.is_pull && slow.is_problem && !slow.is_final);
        assert!(!waiting("ContainerCreating", "").is_problem);
    }

    #[test]
    fn ends_are_told_apart() {
        let pod = PodState::of(&json!({"status": {"phase": "Failed", "containerStatuses": [
            {"name": "engine", "state": {"running": {}}},
            {"name": "xp", "state": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}]}}));
        assert!(pod.is_started && pod.is_over());
        assert_eq!(pod.ended.unwrap().reason, "OOMKilled");
        let evicted = PodState::of(&json!({"status": {"phase": "Failed", "reason": "Evicted",
            "message": "The node was low on resource: memory."}}));
        assert_eq!(
            evicted.disrupted.as_deref(),
            Some("Evicted: The node was low on resource: memory.")
        );
        let drained = PodState::of(&json!({"status": {"phase": "Running", "conditions": [
            {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"}]}}));
        assert_eq!(drained.disrupted.as_deref(), Some("EvictionByEvictionAPI"));
        let pod = |policy: Value| {
            let pod = json!({
                "spec": {"initContainers": [{"name": "engine", "restartPolicy": policy}]},
                "status": {"phase": "Pending", "initContainerStatuses": [
                    {"name": "engine", "state": {"terminated": {"exitCode": 1, "reason": "Error"}}},
                    {"name": "setup", "state": {"waiting": {"reason": "PodInitializing"}}}]}});
            PodState::of(&pod).waiting.unwrap()
        };
        assert!(pod(Value::Null).is_final);
        // The cluster starts a native sidecar again.
        let sidecar = pod(json!("Always"));
        assert_eq!(sidecar.text, "engine exited with 1: Error");
        assert!(sidecar.is_problem && !sidecar.is_final);
        let restarted = PodState::of(
            &json!({"status": {"phase": "Pending", "initContainerStatuses": [{"name": "engine",
            "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}},
            "lastState": {"terminated": {"exitCode": 1, "reason": "Error"}}}]}}),
        );
        let waiting = restarted.waiting.unwrap();
        assert_eq!(
            waiting.text,
            "engine: CrashLoopBackOff: back-off 10s; it exited with 1"
        );
        assert!(!waiting.is_final);
    }
}
