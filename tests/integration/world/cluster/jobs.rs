//! The Job controller.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::admission::admit;
use super::job_status::{Finish, Progress, finish_of, write_status};
use super::resources::Resource;
use super::store::{Key, State, key, owner_reference};
use super::{deletion::Propagation, events};

/// The pause before a failed pod is replaced; it doubles with each failure. Kubernetes waits ten seconds.
const BACK_OFF: Duration = Duration::from_millis(300);
/// The pause before a pod that was rejected is created again.
const CREATE_RETRY: Duration = Duration::from_secs(1);

/// What the controller remembers about a Job.
pub struct JobRun {
    key: Key,
    /// The result of each pod, by UID; `None` while it is active.
    pods: BTreeMap<String, Option<bool>>,
    started: Option<Instant>,
    finished: Option<Instant>,
    /// When to look at it again.
    due: Option<Instant>,
    /// No pods are created before.
    retry_at: Option<Instant>,
    pub finish: Option<Finish>,
}

/// Reconciles the Jobs that have changed or are due, and returns when the next one is.
pub fn work(state: &mut State, touched: &BTreeSet<Key>, now: Instant) -> Option<Instant> {
    let mut keys = BTreeSet::new();
    for key in touched {
        match key.0 {
            "jobs" => {
                keys.insert(key.clone());
            }
            "pods" => {
                // The name of a pod is that of its Job, a dash and five characters.
                if let Some((job, _)) = key.2.rsplit_once('-') {
                    keys.insert(("jobs", key.1.clone(), job.to_owned()));
                }
            }
            _ => {}
        }
    }
    let due = state
        .job_runs
        .values()
        .filter(|run| run.due.is_some_and(|due| due <= now));
    keys.extend(due.map(|run| run.key.clone()));
    for key in keys {
        if state.runtime_of(&key.1).is_some() {
            reconcile(state, &key, now);
        }
    }
    state.job_runs.values().filter_map(|run| run.due).min()
}

fn reconcile(state: &mut State, key: &Key, now: Instant) -> Option<()> {
    let mut job = state.get(key)?.clone();
    let uid = job["metadata"]["uid"].as_str()?.to_owned();
    let mut run = state.job_runs.remove(&uid).unwrap_or_else(|| JobRun {
        key: key.clone(),
        pods: BTreeMap::new(),
        started: None,
        finished: None,
        due: None,
        retry_at: None,
        finish: None,
    });
    run.due = None;
    let is_deleted = !job["metadata"]["deletionTimestamp"].is_null();
    if !is_deleted {
        advance(state, key, &mut job, &mut run, now);
    }
    let exists = state
        .get(key)
        .is_some_and(|job| job["metadata"]["uid"] == uid.as_str());
    if exists {
        state.job_runs.insert(uid, run);
    }
    Some(())
}

fn advance(state: &mut State, key: &Key, job: &mut Value, run: &mut JobRun, now: Instant) {
    let spec = job["spec"].clone();
    let number = |name: &str, default: u64| spec[name].as_u64().unwrap_or(default);
    let is_suspended = spec["suspend"] == true;
    if is_suspended {
        run.started = None;
    } else if run.started.is_none() {
        run.started = Some(now);
    }
    let pods = own_pods(state, key, job);
    if is_suspended {
        // Pods of a suspended Job do not count as failed.
        run.pods.retain(|_, result| result.is_some());
    } else {
        note_results(run, &pods, &spec, now);
    }
    let active: Vec<&(Key, Value)> = pods.iter().filter(|(_, pod)| is_active(pod)).collect();
    let progress = Progress::of(&pods, run.pods.values(), is_suspended);

    let deadline = spec["activeDeadlineSeconds"]
        .as_u64()
        .map(Duration::from_secs);
    let deadline = deadline.and_then(|limit| Some(run.started? + limit));
    if run.finish.is_none() && !is_suspended {
        run.finish = finish_of(
            &spec,
            &pods,
            &progress,
            deadline.is_some_and(|time| time <= now),
        );
        if let Some(finish) = &run.finish {
            let severity = if finish.is_success() {
                "Normal"
            } else {
                "Warning"
            };
            events::add(
                state,
                job,
                "job-controller",
                severity,
                finish.event(),
                &finish.message,
            );
        }
    }
    if run.finish.is_some() || is_suspended {
        for (pod, _) in &active {
            state.request_deletion(pod, None, Propagation::Background);
        }
    } else {
        let missing = number("completions", 1).saturating_sub(progress.succeeded);
        let wanted = number("parallelism", 1).min(missing);
        let may_create = run.retry_at.is_none_or(|time| time <= now);
        for _ in active.len() as u64..wanted {
            if may_create && !create_pod(state, key, job, run) {
                run.retry_at = Some(now + CREATE_RETRY);
                break;
            }
        }
    }

    let pods = own_pods(state, key, job);
    let progress = Progress::of(&pods, run.pods.values(), is_suspended);
    write_status(job, &progress, run.finish.as_ref(), is_suspended);
    let is_over = run.finish.is_some() && progress.active + progress.terminating == 0;
    if is_over {
        run.finished.get_or_insert(now);
    }
    *job = state.put(key, job.clone());
    let expiry = spec["ttlSecondsAfterFinished"]
        .as_u64()
        .map(Duration::from_secs);
    let expiry = expiry.and_then(|ttl| Some(run.finished? + ttl));
    if expiry.is_some_and(|time| time <= now) {
        state.request_deletion(key, None, Propagation::Background);
        return;
    }
    let deadline = deadline.filter(|_| run.finish.is_none());
    let retry = run
        .retry_at
        .filter(|time| *time > now && run.finish.is_none());
    run.due = [deadline, expiry, retry].into_iter().flatten().min();
}

fn own_pods(state: &State, key: &Key, job: &Value) -> Vec<(Key, Value)> {
    let uid = &job["metadata"]["uid"];
    let named = state.list_with_prefix("pods", &key.1, &format!("{}-", key.2));
    let own = named
        .into_iter()
        .filter(|(_, pod)| pod["metadata"]["ownerReferences"][0]["uid"] == *uid);
    own.map(|(key, pod)| (key.clone(), pod.clone())).collect()
}

fn is_active(pod: &Value) -> bool {
    pod["metadata"]["deletionTimestamp"].is_null() && !is_over(pod)
}

fn is_over(pod: &Value) -> bool {
    matches!(
        pod["status"]["phase"].as_str(),
        Some("Succeeded" | "Failed")
    )
}

/// Records the results of pods. A pod that is deleted before it ends has failed.
fn note_results(run: &mut JobRun, pods: &[(Key, Value)], spec: &Value, now: Instant) {
    let mut seen = BTreeSet::new();
    for (_, pod) in pods {
        let uid = pod["metadata"]["uid"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let result = match pod["status"]["phase"].as_str() {
            Some("Succeeded") => Some(true),
            Some("Failed") => Some(false),
            _ if !pod["metadata"]["deletionTimestamp"].is_null() => Some(false),
            _ => None,
        };
        seen.insert(uid.clone());
        let ignored = result == Some(false) && super::job_status::ignores(spec, pod);
        let known = run.pods.get(&uid);
        if ignored {
            // It neither counts nor delays its replacement.
            run.pods.remove(&uid);
        } else if known.is_none_or(Option::is_none) {
            if result == Some(false) {
                delay_retry(run, now);
            }
            run.pods.insert(uid, result);
        }
    }
    let vanished = run
        .pods
        .iter()
        .filter(|(uid, result)| result.is_none() && !seen.contains(*uid));
    for uid in vanished.map(|(uid, _)| uid.clone()).collect::<Vec<_>>() {
        run.pods.insert(uid, Some(false));
        delay_retry(run, now);
    }
}

fn delay_retry(run: &mut JobRun, now: Instant) {
    let failures = run
        .pods
        .values()
        .filter(|result| **result == Some(false))
        .count();
    run.retry_at = Some(now + BACK_OFF * (1 << failures.min(5)));
}

/// Creates a pod from the template; returns whether it was admitted.
fn create_pod(state: &mut State, of: &Key, job: &Value, run: &mut JobRun) -> bool {
    let resource = Resource::by_plural("pods").expect("it is known");
    let template = &job["spec"]["template"];
    let name = format!("{}-{}", of.2, suffix(state.next_number()));
    let mut metadata = template["metadata"].clone();
    if !metadata.is_object() {
        metadata = json!({});
    }
    metadata["generateName"] = format!("{}-", of.2).into();
    metadata["ownerReferences"] = json!([owner_reference(job)]);
    let mut pod = json!({
        "metadata": metadata, "spec": template["spec"], "status": { "phase": "Pending" },
    });
    if let Err(status) = admit(state, resource, &of.1, &name, &pod) {
        let message = status.body["message"].as_str().unwrap_or_default();
        let message = format!("Error creating: {message}");
        events::add(
            state,
            job,
            "job-controller",
            "Warning",
            "FailedCreate",
            &message,
        );
        return false;
    }
    state.begin(resource, &of.1, &name, &mut pod);
    super::defaults::fill_in(resource, &mut pod);
    let pod = state.put(&key(resource, &of.1, &name), pod);
    let uid = pod["metadata"]["uid"].as_str().unwrap_or_default();
    run.pods.insert(uid.to_owned(), None);
    let message = format!("Created pod: {name}");
    events::add(
        state,
        job,
        "job-controller",
        "Normal",
        "SuccessfulCreate",
        &message,
    );
    true
}

/// Returns five characters as in generated names.
pub fn suffix(number: u64) -> String {
    const CHARACTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let mut rest = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 16;
    let mut text = String::new();
    for _ in 0..5 {
        let at = usize::try_from(rest % 27).expect("below 27");
        text.push(CHARACTERS[at].into());
        rest /= 27;
    }
    text
}
