//! One watch of all Jobs and one of all pods, for all units of a run.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use crate::client::kubectl::{ApiError, ClusterApi, Kind};
use crate::client::retry::{Policy, random};
use crate::model::fleet::{JobState, MANAGED_BY, PodState};

/// The pause before a watch that ended is opened again.
const PAUSE: Duration = Duration::from_millis(200);

/// What is known about a Job.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Observed {
    /// The Jobs of that name: one, and earlier ones that are being deleted.
    pub jobs: Vec<JobState>,
    /// Their pods, in the order in which they were first seen.
    pub pods: Vec<PodState>,
}

/// The watches of a run.
pub struct ObjectWatch {
    shared: Arc<WatchState>,
    _tasks: [AbortOnDropHandle<()>; 2],
}

struct WatchState {
    /// The Jobs that units wait for, by name.
    wanted: Mutex<HashMap<String, watch::Sender<Observed>>>,
    /// When objects that were queried were added, by unique id: a list that was requested before may not have them.
    added: Mutex<HashMap<String, Instant>>,
    /// Why nothing is known any more.
    broken: watch::Sender<Option<ApiError>>,
}

impl ObjectWatch {
    /// Starts the watches.
    pub fn start(api: &Arc<ClusterApi>) -> Self {
        let shared = Arc::new(WatchState::new());
        let task = |kind| {
            let (api, shared) = (Arc::clone(api), Arc::clone(&shared));
            AbortOnDropHandle::new(tokio::spawn(async move {
                let error = watch_kind(&api, kind, &shared).await;
                shared.broken.send_replace(Some(error));
            }))
        };
        let tasks = [task(Kind::Job), task(Kind::Pod)];
        Self {
            shared,
            _tasks: tasks,
        }
    }

    /// Starts to follow a Job, from now on.
    pub fn follow(&self, job: &str) -> watch::Receiver<Observed> {
        let sender = watch::Sender::new(Observed::default());
        let receiver = sender.subscribe();
        self.shared.wanted().insert(job.to_owned(), sender);
        receiver
    }

    /// Stops following a Job.
    pub fn forget(&self, job: &str) {
        self.shared.wanted().remove(job);
    }

    /// Adds the state of a Job or pod that was queried.
    pub fn add(&self, kind: Kind, object: &Value) {
        self.shared.add(kind, object);
    }

    /// Resolves when the cluster has not responded for too long.
    pub async fn broken(&self) -> ApiError {
        let mut receiver = self.shared.broken.subscribe();
        let error = receiver.wait_for(Option::is_some).await;
        match error.ok().and_then(|it| it.clone()) {
            Some(error) => error,
            None => std::future::pending().await,
        }
    }
}

impl WatchState {
    fn new() -> Self {
        Self {
            wanted: Mutex::default(),
            added: Mutex::default(),
            broken: watch::Sender::new(None),
        }
    }

    fn added(&self) -> MutexGuard<'_, HashMap<String, Instant>> {
        self.added.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wanted(&self) -> MutexGuard<'_, HashMap<String, watch::Sender<Observed>>> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Updates the state of a Job that a unit follows; of others, nothing is kept.
    fn apply(&self, kind: Kind, object: &Value, is_removed: bool) {
        let Some(job) = job_of(kind, object) else {
            return;
        };
        let wanted = self.wanted();
        let Some(sender) = wanted.get(job) else {
            return;
        };
        sender.send_if_modified(|observed| match kind {
            Kind::Job => updated(&mut observed.jobs, JobState::of(object), is_removed, |it| {
                &it.uid
            }),
            _ => updated(&mut observed.pods, PodState::of(object), is_removed, |it| {
                &it.uid
            }),
        });
    }

    fn add(&self, kind: Kind, object: &Value) {
        let uid = object["metadata"]["uid"].as_str().unwrap_or_default();
        self.added().insert(uid.to_owned(), Instant::now());
        self.apply(kind, object, false);
    }

    /// Replaces what is known by a list, except what was added since it was requested.
    fn replace(&self, kind: Kind, objects: &[Value], requested: Instant) {
        let mut uids: HashMap<&str, Vec<&str>> = HashMap::new();
        for object in objects {
            if let Some(job) = job_of(kind, object) {
                let uid = object["metadata"]["uid"].as_str().unwrap_or_default();
                uids.entry(job).or_default().push(uid);
            }
        }
        let added = self.added();
        for (name, sender) in self.wanted().iter() {
            let uids = uids.get(name.as_str()).map_or(&[][..], Vec::as_slice);
            let is_newer = |uid: &String| added.get(uid).is_some_and(|at| *at >= requested);
            let is_kept = |uid: &String| uids.contains(&uid.as_str()) || is_newer(uid);
            sender.send_if_modified(|observed| {
                let before = observed.clone();
                if kind == Kind::Job {
                    observed.jobs.retain(|it| is_kept(&it.uid));
                } else {
                    observed.pods.retain(|it| is_kept(&it.uid));
                }
                *observed != before
            });
        }
        drop(added);
        for object in objects {
            self.apply(kind, object, false);
        }
    }
}

/// Adds, replaces or removes a state by its unique id. Returns whether that changed anything.
fn updated<T: PartialEq>(
    states: &mut Vec<T>,
    state: T,
    is_removed: bool,
    uid: impl Fn(&T) -> &str,
) -> bool {
    let position = states.iter().position(|it| uid(it) == uid(&state));
    match (position, is_removed) {
        (Some(position), true) => _ = states.remove(position),
        (Some(position), false) if states[position] == state => return false,
        (Some(position), false) => states[position] = state,
        (None, false) => states.push(state),
        (None, true) => return false,
    }
    true
}

/// Returns the name of the Job that an object is or belongs to.
fn job_of(kind: Kind, object: &Value) -> Option<&str> {
    let metadata = &object["metadata"];
    if kind == Kind::Job {
        return metadata["name"].as_str();
    }
    let owners = metadata["ownerReferences"].as_array()?;
    let owner = owners.iter().find(|it| it["kind"] == "Job")?;
    owner["name"].as_str()
}

/// Follows all objects of a kind until the cluster has not responded for too long.
async fn watch_kind(api: &ClusterApi, kind: Kind, shared: &WatchState) -> ApiError {
    let selector = format!("labelSelector={}%3D{}", MANAGED_BY.0, MANAGED_BY.1);
    let mut failed = 0;
    let mut failing_since = Instant::now();
    let mut version = String::new();
    loop {
        let ended = follow(api, kind, shared, &selector, &mut version).await;
        let error = match ended {
            Ok(()) => {
                failed = 0;
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            Err(error) => error,
        };
        if error.is_gone() {
            version.clear();
            continue;
        }
        if !error.is_transient() {
            return error;
        }
        if failed == 0 {
            failing_since = Instant::now();
        }
        failed += 1;
        let spent = failing_since.elapsed();
        match Policy::CLUSTER.wait(failed, random(), None, spent) {
            Some(wait) => tokio::time::sleep(wait).await,
            None => return error,
        }
    }
}

/// Follows objects until the stream ends. Without a version, lists them first.
async fn follow(
    api: &ClusterApi,
    kind: Kind,
    shared: &WatchState,
    selector: &str,
    version: &mut String,
) -> Result<(), ApiError> {
    if version.is_empty() {
        let requested = Instant::now();
        let (objects, listed) = api.list(kind, selector).await?;
        shared.replace(kind, &objects, requested);
        *version = listed;
    }
    let query = format!("{selector}&watch=true&allowWatchBookmarks=true&resourceVersion={version}");
    let action = "watch the Jobs and pods";
    let mut stream = api.stream(kind, "", &query, action).await?;
    while let Ok(Some(line)) = stream.next().await {
        let Ok(event) = serde_json::from_str::<Value>(&line) else {
            continue;
        };
        let object = &event["object"];
        match event["type"].as_str() {
            Some("ADDED" | "MODIFIED") => shared.apply(kind, object, false),
            Some("DELETED") => shared.apply(kind, object, true),
            Some("BOOKMARK") => {}
            // Such as an expired version.
            _ => {
                version.clear();
                return Ok(());
            }
        }
        if let Some(reached) = object["metadata"]["resourceVersion"].as_str() {
            reached.clone_into(version);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn job(uid: &str) -> Value {
        json!({"metadata": {"name": "xp-a-1", "uid": uid}})
    }

    fn pod(uid: &str, phase: &str) -> Value {
        json!({"metadata": {"name": uid, "uid": uid, "ownerReferences": [{"kind": "Job", "name": "xp-a-1"}]},
            "status": {"phase": phase}})
    }

    #[test]
    fn only_wanted_jobs_are_kept() {
        let state = WatchState::new();
        state.apply(Kind::Job, &job("1"), false);
        let sender = watch::Sender::new(Observed::default());
        let mut receiver = sender.subscribe();
        state.wanted().insert("xp-a-1".to_owned(), sender);
        assert!(!receiver.has_changed().unwrap());
        state.apply(Kind::Job, &job("1"), false);
        state.apply(Kind::Pod, &pod("p", "Pending"), false);
        assert!(receiver.has_changed().unwrap());
        receiver.borrow_and_update();
        state.apply(Kind::Pod, &pod("p", "Pending"), false);
        assert!(!receiver.has_changed().unwrap());
        // Late events of an earlier Job of that name.
        state.apply(Kind::Job, &job("0"), false);
        state.apply(Kind::Job, &job("0"), true);
        assert_eq!(receiver.borrow_and_update().jobs.len(), 1);
        let requested = Instant::now();
        state.replace(Kind::Job, &[], requested);
        state.replace(Kind::Pod, &[pod("q", "Pending")], requested);
        let observed = receiver.borrow_and_update().clone();
        assert!(observed.jobs.is_empty());
        assert_eq!(observed.pods.len(), 1);
        assert_eq!(observed.pods[0].uid, "q");
    }

    #[test]
    fn what_was_added_is_not_lost_by_an_older_list() {
        let state = WatchState::new();
        let sender = watch::Sender::new(Observed::default());
        let receiver = sender.subscribe();
        state.wanted().insert("xp-a-1".to_owned(), sender);
        let requested = Instant::now();
        state.add(Kind::Job, &job("1"));
        state.replace(Kind::Job, &[], requested);
        assert_eq!(receiver.borrow().jobs.len(), 1);
        state.replace(Kind::Job, &[], Instant::now() + PAUSE);
        assert!(receiver.borrow().jobs.is_empty());
    }
}
