//! Applies objects to a cluster and waits for the rollout.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::base::error::chain;
use crate::base::shell::quoted;
use crate::base::units;
use crate::client::kubectl::{Cluster, Kubectl, KubectlError};
use crate::model::deploy::Workload;
use crate::model::event::{Event, Events, FailedStep, Outcome, Phase, Unit, UnitSummary};

/// How long kubectl may take to report a timeout after it expired.
const KUBECTL_GRACE: Duration = Duration::from_secs(15);

/// The inputs of a rollout.
pub struct Rollout<'a> {
    /// The client.
    pub kubectl: &'a Kubectl<'a>,
    pub cluster: Cluster<'a>,
    /// The event sink.
    pub events: &'a Events,
    /// Set on cancellation.
    pub cancel: &'a CancellationToken,
    /// How long the rollout may take.
    pub timeout: Duration,
}

/// The result of applying objects.
pub struct ApplyResult {
    /// The applied objects, such as `deployment.apps/zbackend`.
    pub objects: Vec<String>,
    /// Why some objects were not applied; `None` if interrupted.
    pub error: Option<KubectlError>,
    /// Whether it was interrupted.
    pub stopped: bool,
}

impl Rollout<'_> {
    /// Applies objects. Objects applied before an error stay applied.
    pub async fn apply(&self, objects: &str, force: bool) -> ApplyResult {
        let mut applied = Vec::new();
        let mut note = |name: String| applied.push(name);
        let result = tokio::select! {
            result = self.kubectl.apply(self.cluster, objects, force, &mut note) => Some(result),
            () = self.cancel.cancelled() => None,
        };
        // Ctrl-C also ends kubectl: that is not a failure.
        let stopped = result.is_none() || self.cancel.is_cancelled();
        ApplyResult {
            objects: applied,
            error: result.and_then(Result::err).filter(|_| !stopped),
            stopped,
        }
    }

    /// Waits for all workloads concurrently. Each one emits one [`Event::UnitFinished`].
    pub async fn wait(&self, workloads: &[Workload]) {
        let units = workloads
            .iter()
            .map(|it| Unit::Workload(it.to_string()))
            .collect();
        self.events.emit(Event::WorkStarted {
            units,
            jobs: workloads.len(),
        });
        join_all(workloads.iter().map(|workload| self.wait_for(workload))).await;
    }

    async fn wait_for(&self, workload: &Workload) {
        let (start, phase) = (Instant::now(), Phase::Rollout);
        let unit = Unit::Workload(workload.to_string());
        let name = workload.to_string();
        self.events.emit(Event::UnitStarted { unit: unit.clone() });
        self.events.emit(Event::StepStarted {
            unit: unit.clone(),
            phase,
            title: format!("{name} in {}", self.cluster.namespace),
        });
        let mut on_line = |line: &str| {
            self.events.emit(Event::Output {
                unit: unit.clone(),
                phase,
                bytes: format!("{line}\n").into(),
            });
        };
        let waited = self
            .kubectl
            .wait_for_rollout(self.cluster, &name, self.timeout, &mut on_line);
        let waited = tokio::select! {
            waited = tokio::time::timeout(self.timeout + KUBECTL_GRACE, waited) => Some(waited),
            () = self.cancel.cancelled() => None,
        };
        let ended = match waited {
            None => UnitSummary::new(Outcome::Stopped),
            Some(_) if self.cancel.is_cancelled() => UnitSummary::new(Outcome::Stopped),
            Some(Ok(Ok(()))) => {
                self.events.emit(Event::StepFinished {
                    unit: unit.clone(),
                    phase,
                    elapsed: start.elapsed(),
                });
                UnitSummary::new(Outcome::Done)
            }
            Some(Ok(Err(error))) => self.failed(workload, chain(&error)).await,
            Some(Err(_)) => {
                let limit = units::limit(self.timeout);
                let message = format!("cannot roll out {name}: no response within {limit}");
                self.failed(workload, message).await
            }
        };
        self.events.emit(Event::UnitFinished {
            unit,
            ended: UnitSummary {
                elapsed: start.elapsed(),
                ..ended
            },
        });
    }

    async fn failed(&self, workload: &Workload, mut message: String) -> UnitSummary {
        let reasons = tokio::time::timeout(KUBECTL_GRACE, self.reasons(workload)).await;
        for reason in reasons.ok().flatten().unwrap_or_default() {
            message.push_str(&format!("\n  {}", self.kubectl.secrets.text(&reason)));
        }
        let reproduce_command = format!(
            "kubectl --context {} --namespace {} describe {} {}",
            quoted(self.cluster.context),
            quoted(self.cluster.namespace),
            workload.kind,
            quoted(&workload.name),
        );
        UnitSummary::failed(FailedStep {
            reproduce_command: Some(reproduce_command),
            ..FailedStep::new(Phase::Rollout, message)
        })
    }

    /// Returns why the pods of a workload do not run.
    async fn reasons(&self, workload: &Workload) -> Option<Vec<String>> {
        let found = self
            .kubectl
            .get(self.cluster, workload.kind, &workload.name)
            .await;
        let object = found.ok()??;
        let labels = object["spec"]["selector"]["matchLabels"].as_object()?;
        let labels = labels
            .iter()
            .filter_map(|(key, value)| Some(format!("{key}={}", value.as_str()?)));
        let labels: Vec<String> = labels.collect();
        let labels = labels.join(",");
        let pods = self
            .kubectl
            .list(self.cluster, "pods", &labels)
            .await
            .ok()?;
        let mut reasons: Vec<String> = pods.iter().flat_map(pod_reasons).collect();
        reasons.sort();
        reasons.dedup();
        reasons.truncate(5);
        Some(reasons)
    }
}

/// Returns why the containers of a pod do not run; omits their own output, which may contain secrets.
fn pod_reasons(pod: &Value) -> Vec<String> {
    let name = pod["metadata"]["name"].as_str().unwrap_or_default();
    let lists = ["initContainerStatuses", "containerStatuses"].into_iter();
    let statuses = lists.filter_map(|key| pod["status"][key].as_array());
    let mut reasons: Vec<String> = statuses
        .flatten()
        .filter_map(|it| container_reason(name, it))
        .collect();
    if reasons.is_empty() && pod["status"]["phase"] == "Pending" {
        let conditions = pod["status"]["conditions"].as_array();
        let unmet = conditions
            .into_iter()
            .flatten()
            .filter(|condition| condition["status"] == "False");
        reasons.extend(unmet.filter_map(|condition| {
            let reason = condition["reason"].as_str()?;
            let message = condition["message"].as_str().unwrap_or_default();
            Some(format!("pod {name}: {reason}: {message}"))
        }));
    }
    reasons
}

fn container_reason(pod: &str, status: &Value) -> Option<String> {
    let container = status["name"].as_str().unwrap_or_default();
    let last = &status["lastState"]["terminated"];
    if let Some(reason) = status["state"]["waiting"]["reason"].as_str() {
        if matches!(reason, "ContainerCreating" | "PodInitializing") {
            return None;
        }
        let message = status["state"]["waiting"]["message"].as_str();
        let message = message.map(|it| format!(": {it}")).unwrap_or_default();
        let code = last["exitCode"].as_i64();
        let code = code
            .map(|it| format!("; it exited with {it}"))
            .unwrap_or_default();
        return Some(format!("pod {pod}, {container}: {reason}{message}{code}"));
    }
    let ended = &status["state"]["terminated"];
    let code = ended["exitCode"].as_i64().filter(|code| *code != 0)?;
    let reason = ended["reason"].as_str().unwrap_or("Error");
    Some(format!(
        "pod {pod}, {container}: {reason}; it exited with {code}"
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn reasons_of_pods_are_collected() {
        let pod = json!({"metadata": {"name": "a-1"}, "status": {"containerStatuses": [
            {"name": "a", "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}},
            {"name": "b", "state": {"waiting": {"reason": "CrashLoopBackOff"}},
             "lastState": {"terminated": {"exitCode": 7, "message": "password: hunter2"}}},
            {"name": "c", "state": {"running": {}}},
            {"name": "d", "state": {"waiting": {"reason": "ContainerCreating"}}},
        ]}});
        assert_eq!(
            pod_reasons(&pod),
            [
                "pod a-1, a: ImagePullBackOff: no such image",
                "pod a-1, b: CrashLoopBackOff; it exited with 7"
            ]
        );
    }
}
