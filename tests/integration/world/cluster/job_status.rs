//! The outcome and the status of a Job.

use serde_json::{Value, json};

use super::store::{Key, now};

/// How a Job ends.
#[derive(Clone, Debug)]
pub struct Finish {
    /// `Complete` or `Failed`.
    condition: &'static str,
    reason: &'static str,
    pub message: String,
}

impl Finish {
    fn failed(reason: &'static str, message: impl Into<String>) -> Self {
        let message = message.into();
        Self {
            condition: "Failed",
            reason,
            message,
        }
    }

    /// Returns whether it succeeded.
    pub fn is_success(&self) -> bool {
        self.condition == "Complete"
    }

    /// Returns the reason of its event.
    pub fn event(&self) -> &'static str {
        if self.is_success() {
            "Completed"
        } else {
            self.reason
        }
    }
}

/// The number of pods.
pub struct Progress {
    pub active: u64,
    ready: u64,
    pub terminating: u64,
    pub succeeded: u64,
    failed: u64,
}

impl Progress {
    /// Counts existing pods, and the results of all that have existed.
    pub fn of<'a>(
        pods: &[(Key, Value)],
        results: impl Iterator<Item = &'a Option<bool>>,
        is_suspended: bool,
    ) -> Self {
        let is_over = |pod: &Value| {
            matches!(
                pod["status"]["phase"].as_str(),
                Some("Succeeded" | "Failed")
            )
        };
        let is_deleted = |pod: &Value| !pod["metadata"]["deletionTimestamp"].is_null();
        let is_ready = |pod: &Value| {
            let mut conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
            conditions
                .any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
        };
        let count =
            |test: &dyn Fn(&Value) -> bool| pods.iter().filter(|(_, pod)| test(pod)).count() as u64;
        let results: Vec<bool> = results.filter_map(|result| *result).collect();
        let succeeded = results.iter().filter(|result| **result).count() as u64;
        let active = count(&|pod| !is_over(pod) && !is_deleted(pod));
        Self {
            active: if is_suspended { 0 } else { active },
            ready: count(&|pod| !is_over(pod) && !is_deleted(pod) && is_ready(pod)),
            terminating: count(&|pod| !is_over(pod) && is_deleted(pod)),
            succeeded,
            failed: results.len() as u64 - succeeded,
        }
    }
}

/// Returns how a Job ends, if it does.
pub fn finish_of(
    spec: &Value,
    pods: &[(Key, Value)],
    progress: &Progress,
    is_late: bool,
) -> Option<Finish> {
    let number = |name: &str, default: u64| spec[name].as_u64().unwrap_or(default);
    if progress.succeeded >= number("completions", 1) {
        return Some(Finish {
            condition: "Complete",
            reason: "CompletionsReached",
            message: "Reached expected number of succeeded pods".to_owned(),
        });
    }
    if let Some(message) = pods.iter().find_map(|(key, pod)| fails_job(spec, key, pod)) {
        return Some(Finish::failed("PodFailurePolicy", message));
    }
    let limit = number("backoffLimit", 6);
    let restarts: u64 = pods.iter().map(|(_, pod)| restarts(pod)).sum();
    let in_place = spec["template"]["spec"]["restartPolicy"] == "OnFailure"
        && restarts > 0
        && restarts >= limit;
    if progress.failed > limit || in_place {
        let message = "Job has reached the specified backoff limit";
        return Some(Finish::failed("BackoffLimitExceeded", message));
    }
    is_late.then(|| {
        Finish::failed(
            "DeadlineExceeded",
            "Job was active longer than specified deadline",
        )
    })
}

fn restarts(pod: &Value) -> u64 {
    let statuses = pod["status"]["containerStatuses"]
        .as_array()
        .into_iter()
        .flatten();
    statuses
        .filter_map(|status| status["restartCount"].as_u64())
        .sum()
}

/// Returns whether the failure policy ignores the failure of a pod.
pub fn ignores(spec: &Value, pod: &Value) -> bool {
    rule_for(spec, pod).is_some_and(|rule| rule["action"] == "Ignore")
}

fn fails_job(spec: &Value, key: &Key, pod: &Value) -> Option<String> {
    if pod["status"]["phase"] != "Failed" {
        return None;
    }
    let rule = rule_for(spec, pod)?;
    (rule["action"] == "FailJob").then(|| {
        let codes = exit_codes(pod, &rule["onExitCodes"]);
        let (name, code) = codes.first().cloned().unwrap_or_default();
        format!(
            "Container {name} for pod {}/{} failed with exit code {code} matching FailJob rule at index 0",
            key.1, key.2
        )
    })
}

/// Returns the first rule of the failure policy that matches.
fn rule_for<'a>(spec: &'a Value, pod: &Value) -> Option<&'a Value> {
    let rules = spec["podFailurePolicy"]["rules"].as_array()?;
    rules.iter().find(|rule| {
        let codes = &rule["onExitCodes"];
        if !codes.is_null() {
            return !exit_codes(pod, codes).is_empty();
        }
        let patterns = rule["onPodConditions"].as_array().into_iter().flatten();
        let conditions = pod["status"]["conditions"].as_array();
        let holds = |pattern: &Value| {
            let status = pattern["status"].as_str().unwrap_or("True");
            let mut conditions = conditions.into_iter().flatten();
            conditions.any(|condition| {
                condition["type"] == pattern["type"] && condition["status"] == status
            })
        };
        { patterns }.any(holds)
    })
}

/// Returns the containers with an exit code that a rule selects.
fn exit_codes(pod: &Value, rule: &Value) -> Vec<(String, i64)> {
    let values = rule["values"].as_array().cloned().unwrap_or_default();
    let is_selected = |code: i64| match rule["operator"].as_str() {
        Some("In") => values.contains(&code.into()),
        _ => !values.contains(&code.into()),
    };
    let statuses = ["initContainerStatuses", "containerStatuses"]
        .iter()
        .flat_map(|list| pod["status"][list].as_array().into_iter().flatten());
    let ended = statuses.filter_map(|status| {
        let name = status["name"].as_str()?;
        let code = status["state"]["terminated"]["exitCode"].as_i64()?;
        let is_meant = rule["containerName"]
            .as_str()
            .is_none_or(|meant| meant == name);
        (is_meant && code != 0 && is_selected(code)).then(|| (name.to_owned(), code))
    });
    ended.collect()
}

/// Writes the status of a Job.
pub fn write_status(
    job: &mut Value,
    progress: &Progress,
    finish: Option<&Finish>,
    is_suspended: bool,
) {
    let before = job["status"].clone();
    let mut conditions = before["conditions"].as_array().cloned().unwrap_or_default();
    let was_suspended = conditions
        .iter()
        .any(|condition| condition["type"] == "Suspended");
    if is_suspended {
        set(
            &mut conditions,
            "Suspended",
            "True",
            "JobSuspended",
            "Job suspended",
        );
    } else if was_suspended {
        set(
            &mut conditions,
            "Suspended",
            "False",
            "JobResumed",
            "Job resumed",
        );
    }
    let is_over = progress.active + progress.terminating == 0;
    if let Some(finish) = finish {
        let first = if finish.is_success() {
            "SuccessCriteriaMet"
        } else {
            "FailureTarget"
        };
        set(
            &mut conditions,
            first,
            "True",
            finish.reason,
            &finish.message,
        );
        if is_over {
            set(
                &mut conditions,
                finish.condition,
                "True",
                finish.reason,
                &finish.message,
            );
        }
    }
    let mut status = json!({
        "active": progress.active, "ready": progress.ready, "terminating": progress.terminating,
        "succeeded": progress.succeeded, "failed": progress.failed,
        "uncountedTerminatedPods": {},
    });
    for name in ["active", "succeeded", "failed"] {
        if status[name] == 0 {
            status
                .as_object_mut()
                .expect("an object")
                .shift_remove(name);
        }
    }
    if !conditions.is_empty() {
        status["conditions"] = conditions.into();
    }
    if !is_suspended {
        status["startTime"] = match &before["startTime"] {
            Value::Null => now().into(),
            time => time.clone(),
        };
    }
    if is_over && finish.is_some_and(Finish::is_success) {
        status["completionTime"] = match &before["completionTime"] {
            Value::Null => now().into(),
            time => time.clone(),
        };
    }
    job["status"] = status;
}

fn set(conditions: &mut Vec<Value>, of: &str, status: &str, reason: &str, message: &str) {
    let same = conditions
        .iter_mut()
        .find(|condition| condition["type"] == of);
    if same
        .as_ref()
        .is_some_and(|condition| condition["status"] == status)
    {
        return;
    }
    let condition = json!({
        "type": of, "status": status, "reason": reason, "message": message,
        "lastProbeTime": now(), "lastTransitionTime": now(),
    });
    match same {
        Some(old) => *old = condition,
        None => conditions.push(condition),
    }
}
