//! What goes wrong with a pod, as errors.

use std::time::Duration;

use crate::base::units;
use crate::client::kubectl::{ClusterApi, Kind};
use crate::execute::step_error::StepError;
use crate::model::fleet::{LineReader, PodEnd, PodState, Waiting};

/// Returns the error of a pod that will not start.
pub(super) fn cannot_start(pod: &PodState, waiting: &Waiting) -> StepError {
    let text = format!("the pod {} cannot start: {}", pod.name, waiting.text);
    let hint = if waiting.is_pull {
        "check `image` of the fleet, the images of its template, and `imagePullSecrets`"
    } else {
        "check the template of the fleet"
    };
    StepError::plain(text).hint(hint).outside()
}

/// Returns the error of a pod that has not started in time.
pub(super) fn not_started(limit: Duration, state: &str) -> StepError {
    let limit = units::limit(limit);
    let error = StepError::plain(format!("its pod has not started within {limit}: {state}"));
    error.hint("`wait` of the fleet sets the limit").outside()
}

/// Returns the error of a worker that ended without an outcome.
pub(super) fn crashed(pod: &PodState, end: &PodEnd, reader: &LineReader) -> StepError {
    let PodEnd {
        code,
        reason,
        message,
    } = end;
    if reason == "OOMKilled" {
        return StepError::plain(format!(
            "the worker in the pod {} ran out of memory (OOMKilled)",
            pod.name
        ))
        .hint("raise `resources.limits.memory` of the container `xp` in the fleet's template")
        .outside();
    }
    let mut text = format!(
        "the worker in the pod {} ended with exit code {code} and no result",
        pod.name
    );
    if !matches!(reason.as_str(), "" | "Error") {
        text.push_str(&format!(" ({reason})"));
    }
    if !message.is_empty() {
        text.push_str(&format!(": {message}"));
    }
    for line in reader.stray_lines() {
        text.push_str(&format!("\n  {line}"));
    }
    let error = StepError::plain(text).outside();
    if reader.has_begun() {
        error.hint("run xp again; finished work is kept")
    } else {
        error.hint("check that `image` of the fleet is xp's image, of the same version as this xp")
    }
}

/// Returns the last problem that the cluster reports about a Job, such as a quota.
pub(super) async fn of_job(api: &ClusterApi, job: &str) -> Option<String> {
    let query = format!("fieldSelector=involvedObject.name%3D{job}");
    let (events, _) = api.list(Kind::Event, &query).await.ok()?;
    let problems = events.iter().filter(|it| it["type"] == "Warning");
    let last = problems.max_by_key(|it| {
        let times = [
            &it["lastTimestamp"],
            &it["eventTime"],
            &it["metadata"]["creationTimestamp"],
        ];
        let time = times.into_iter().find_map(|time| time.as_str());
        time.unwrap_or_default().to_owned()
    })?;
    let text = |key: &str| last[key].as_str().unwrap_or_default();
    Some(format!("{}: {}", text("reason"), text("message")))
}
