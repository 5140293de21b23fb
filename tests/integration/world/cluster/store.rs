//! The stored objects and their changes.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::access::Rules;
use super::controller::Rollout;
use super::resources::Resource;

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

/// The state of the server.
#[derive(Default)]
pub struct State {
    objects: BTreeMap<Key, Value>,
    revision: u64,
    changes: Vec<Change>,
    next_id: u64,
    /// By namespace.
    pub rules: BTreeMap<String, Rules>,
    pub rollouts: BTreeMap<Key, Rollout>,
    pub requests: Vec<ClusterRequest>,
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

    /// Returns the objects of a resource, in all namespaces if none is given.
    pub fn list(&self, plural: &str, namespace: &str) -> Vec<(&Key, &Value)> {
        let of_resource = |(key, _): &(&Key, &Value)| {
            key.0 == plural && (namespace.is_empty() || key.1 == namespace)
        };
        self.objects.iter().filter(of_resource).collect()
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
        self.revision += 1;
        object["metadata"]["resourceVersion"] = self.revision.to_string().into();
        self.note("DELETED", key, &object);
        if with_dependents {
            let uid = &object["metadata"]["uid"];
            let depends = |(other, value): &(&Key, &Value)| {
                let owners = value["metadata"]["ownerReferences"].as_array();
                let is_owned =
                    owners.is_some_and(|owners| owners.iter().any(|owner| owner["uid"] == *uid));
                is_owned || key.0 == "namespaces" && other.1 == key.2
            };
            let dependents = self.objects.iter().filter(depends);
            let dependents: Vec<Key> = dependents.map(|(key, _)| key.clone()).collect();
            for dependent in dependents {
                self.delete(&dependent, true);
            }
        }
        Some(object)
    }

    /// Sets the metadata of a new object.
    pub fn begin(&mut self, resource: &Resource, namespace: &str, name: &str, object: &mut Value) {
        self.next_id += 1;
        object["apiVersion"] = resource.api_version().into();
        object["kind"] = resource.kind.into();
        let metadata = &mut object["metadata"];
        metadata["name"] = name.into();
        if resource.namespaced {
            metadata["namespace"] = namespace.into();
        }
        metadata["uid"] = format!("00000000-0000-4000-8000-{:012x}", self.next_id).into();
        metadata["creationTimestamp"] = now().into();
    }

    fn note(&mut self, kind: &'static str, key: &Key, object: &Value) {
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
    let now = OffsetDateTime::now_utc()
        .replace_nanosecond(0)
        .expect("in range");
    now.format(&Rfc3339).expect("a time of this century")
}

/// Returns the reference that makes `owner` the owner of another object.
pub fn owner_reference(owner: &Value) -> Value {
    json!({
        "apiVersion": owner["apiVersion"], "kind": owner["kind"],
        "name": owner["metadata"]["name"], "uid": owner["metadata"]["uid"],
        "controller": true, "blockOwnerDeletion": true,
    })
}
