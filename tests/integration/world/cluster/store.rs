//! The stored objects and their changes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::controller::Rollout;
use super::faults::{Rules, Runtime};
use super::jobs::JobRun;
use super::node::Order;
use super::resources::Resource;
use super::simulation::Simulation;

/// The key of an object: resource, namespace (may be empty), and name.
pub type Key = (&'static str, String, String);

/// An object was written or deleted.
#[derive(Clone)]
pub struct Change {
    pub revision: u64,
    /// `ADDED`, `MODIFIED` or `DELETED`.
    pub kind: &'static str,
    pub key: Key,
    pub object: Value,
}

/// A completed request.
#[derive(Clone, Debug)]
pub struct ClusterRequest {
    pub method: String,
    /// With the query.
    pub path: String,
    /// The user, from the token.
    pub user: String,
    pub user_agent: String,
    pub body: String,
    pub status: u16,
}

/// The thread of a pod.
#[derive(Clone)]
pub struct WorkerHandle {
    pub namespace: String,
    pub sender: Sender<Order>,
}

/// The state of the server.
#[derive(Default)]
pub struct State {
    objects: BTreeMap<Key, Value>,
    revision: u64,
    changes: Vec<Change>,
    next_id: u64,
    /// Watches from earlier revisions are rejected.
    pub oldest_revision: u64,
    /// Objects changed since the controllers last looked.
    touched: BTreeSet<Key>,
    /// Objects with a deletion timestamp.
    pub deleting: BTreeSet<Key>,
    /// By namespace.
    pub rules: BTreeMap<String, Rules>,
    /// What runs the pods of other namespaces.
    pub runtime: Option<Runtime>,
    pub rollouts: BTreeMap<Key, Rollout>,
    /// By UID.
    pub job_runs: BTreeMap<String, JobRun>,
    /// Simulated pods, by UID.
    pub simulations: BTreeMap<String, Simulation>,
    /// The threads that run pods, by UID of the pod.
    pub workers: BTreeMap<String, WorkerHandle>,
    pub requests: Vec<ClusterRequest>,
    /// Until then, nothing is answered.
    pub frozen_until: Option<Instant>,
    /// Until then, connections are refused.
    pub refusing_until: Option<Instant>,
    pub stopped: bool,
}

impl State {
    /// Returns the number of the last change.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Returns an object.
    pub fn get(&self, key: &Key) -> Option<&Value> {
        self.objects.get(key)
    }

    /// Returns all objects.
    pub fn all(&self) -> impl Iterator<Item = (&Key, &Value)> {
        self.objects.iter()
    }

    /// Returns the objects of a resource, in all namespaces if none is given.
    pub fn list(&self, plural: &str, namespace: &str) -> Vec<(&Key, &Value)> {
        self.list_with_prefix(plural, namespace, "")
    }

    /// Returns the objects of a resource whose name has a prefix, in all namespaces if none is given.
    pub fn list_with_prefix(
        &self,
        plural: &str,
        namespace: &str,
        prefix: &str,
    ) -> Vec<(&Key, &Value)> {
        let Some(resource) = Resource::by_plural(plural) else {
            return Vec::new();
        };
        let first = (resource.plural, namespace.to_owned(), prefix.to_owned());
        let is_meant = |(key, _): &(&Key, &Value)| {
            key.0 == plural
                && (namespace.is_empty() || key.1 == namespace && key.2.starts_with(prefix))
        };
        self.objects.range(first..).take_while(is_meant).collect()
    }

    /// Returns the objects changed since the last call.
    pub fn take_touched(&mut self) -> BTreeSet<Key> {
        std::mem::take(&mut self.touched)
    }

    /// Returns whether objects have changed since [`State::take_touched`].
    pub fn has_touched(&self) -> bool {
        !self.touched.is_empty()
    }

    /// Makes controllers look at an object again.
    pub fn touch(&mut self, key: &Key) {
        self.touched.insert(key.clone());
    }

    /// Returns the changes after a revision.
    pub fn changes_after(&self, revision: u64) -> &[Change] {
        let first = self
            .changes
            .partition_point(|change| change.revision <= revision);
        &self.changes[first..]
    }

    /// Stores an object unless it is unchanged, and returns the stored version.
    pub fn put(&mut self, key: &Key, mut object: Value) -> Value {
        let old = self.objects.get(key);
        let metadata = &mut object["metadata"];
        if let Some(old) = old {
            metadata["resourceVersion"] = old["metadata"]["resourceVersion"].clone();
            if *old == object {
                return object;
            }
        }
        let kind = if old.is_some() { "MODIFIED" } else { "ADDED" };
        self.revision += 1;
        object["metadata"]["resourceVersion"] = self.revision.to_string().into();
        self.objects.insert(key.clone(), object.clone());
        self.note(kind, key, &object);
        object
    }

    /// Deletes an object and, with `with_dependents`, the objects that it owns.
    pub fn delete(&mut self, key: &Key, with_dependents: bool) -> Option<Value> {
        let mut object = self.objects.remove(key)?;
        self.rollouts.remove(key);
        self.deleting.remove(key);
        let uid = object["metadata"]["uid"].as_str().unwrap_or_default();
        self.job_runs.remove(uid);
        self.simulations.remove(uid);
        self.revision += 1;
        object["metadata"]["resourceVersion"] = self.revision.to_string().into();
        self.note("DELETED", key, &object);
        if with_dependents {
            for dependent in self.dependents(key, &object) {
                self.delete_dependent(&dependent);
            }
        }
        Some(object)
    }

    /// Sets the metadata of a new object.
    pub fn begin(&mut self, resource: &Resource, namespace: &str, name: &str, object: &mut Value) {
        let number = self.next_number();
        object["apiVersion"] = resource.api_version().into();
        object["kind"] = resource.kind.into();
        let metadata = &mut object["metadata"];
        metadata["name"] = name.into();
        if resource.namespaced {
            metadata["namespace"] = namespace.into();
        }
        metadata["uid"] = format!("00000000-0000-4000-8000-{number:012x}").into();
        metadata["creationTimestamp"] = now().into();
    }

    /// Returns a new number.
    pub fn next_number(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    fn note(&mut self, kind: &'static str, key: &Key, object: &Value) {
        self.touched.insert(key.clone());
        self.changes.push(Change {
            revision: self.revision,
            kind,
            key: key.clone(),
            object: object.clone(),
        });
    }
}

/// Returns the key of an object.
pub fn key(resource: &Resource, namespace: &str, name: &str) -> Key {
    let namespace = if resource.namespaced { namespace } else { "" };
    (resource.plural, namespace.to_owned(), name.to_owned())
}

/// Returns the current time in the format of objects.
pub fn now() -> String {
    time_in(Duration::ZERO)
}

/// Returns the time after a duration, in the format of objects.
pub fn time_in(duration: Duration) -> String {
    let time = OffsetDateTime::now_utc() + duration;
    let time = time.replace_nanosecond(0).expect("in range");
    time.format(&Rfc3339).expect("a time of this century")
}

/// Returns the reference that makes `owner` the owner of another object.
pub fn owner_reference(owner: &Value) -> Value {
    json!({
        "apiVersion": owner["apiVersion"], "kind": owner["kind"],
        "name": owner["metadata"]["name"], "uid": owner["metadata"]["uid"],
        "controller": true, "blockOwnerDeletion": true,
    })
}
