//! Deletion: grace periods of pods, finalizers, and the order of owners and dependents.

use std::time::Duration;

use serde_json::{Value, json};

use super::node::Order;
use super::store::{Key, State, now, time_in};

/// The finalizer of an object that waits for its dependents.
const FOREGROUND: &str = "foregroundDeletion";

/// What happens to the objects that an object owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// They stay.
    Orphan,
    /// They are deleted after it.
    Background,
    /// They are deleted before it.
    Foreground,
}

impl State {
    /// Deletes an object as a client requests it: a running pod gets time to end, and finalizers delay the deletion.
    /// Returns the object if it still exists.
    pub fn request_deletion(
        &mut self,
        key: &Key,
        grace: Option<u64>,
        propagation: Propagation,
    ) -> Option<Value> {
        let mut object = self.get(key)?.clone();
        if key.0 == "pods" {
            return self.delete_pod(key, object, grace);
        }
        if propagation == Propagation::Foreground {
            add_finalizer(&mut object, FOREGROUND);
        }
        if propagation == Propagation::Orphan {
            self.release_dependents(&object);
        }
        // The contents of a namespace go first.
        let waits = !finalizers(&object).is_empty() || key.0 == "namespaces";
        if !waits {
            self.delete(key, true);
            return None;
        }
        if object["metadata"]["deletionTimestamp"].is_null() {
            object["metadata"]["deletionTimestamp"] = now().into();
            object["metadata"]["deletionGracePeriodSeconds"] = 0.into();
        }
        if key.0 == "namespaces" {
            object["status"]["phase"] = "Terminating".into();
        }
        let object = self.put(key, object);
        self.deleting.insert(key.clone());
        for dependent in self.dependents(key, &object) {
            self.delete_dependent(&dependent);
        }
        self.finish_deletions();
        self.get(key).cloned()
    }

    /// Deletes an object after its owner.
    pub fn delete_dependent(&mut self, key: &Key) {
        self.request_deletion(key, None, Propagation::Background);
    }

    /// Removes the objects whose finalizers are done.
    pub fn finish_deletions(&mut self) {
        for key in self.deleting.clone() {
            let Some(mut object) = self.get(&key).cloned() else {
                self.deleting.remove(&key);
                continue;
            };
            if !self.dependents(&key, &object).is_empty() {
                continue;
            }
            if let Some(list) = object["metadata"]["finalizers"].as_array_mut() {
                list.retain(|finalizer| finalizer != FOREGROUND);
            }
            if finalizers(&object).is_empty() && key.0 != "pods" {
                self.delete(&key, true);
            }
        }
    }

    fn delete_pod(&mut self, key: &Key, mut pod: Value, grace: Option<u64>) -> Option<Value> {
        let uid = pod["metadata"]["uid"].as_str().unwrap_or_default();
        let worker = self.workers.get(uid).cloned();
        let is_over = matches!(
            pod["status"]["phase"].as_str(),
            Some("Succeeded" | "Failed")
        );
        let default = pod["spec"]["terminationGracePeriodSeconds"].as_u64();
        let grace = grace.or(default).unwrap_or(30);
        let grace = if is_over { 0 } else { grace };
        if let Some(worker) = &worker {
            let _ = worker
                .sender
                .send(Order::Delete(Duration::from_secs(grace)));
        }
        if worker.is_none() || grace == 0 {
            self.delete(key, true);
            return None;
        }
        pod["metadata"]["deletionTimestamp"] = time_in(Duration::from_secs(grace)).into();
        pod["metadata"]["deletionGracePeriodSeconds"] = grace.into();
        Some(self.put(key, pod))
    }

    /// Returns the keys of the objects that an object owns, or that are in a namespace.
    pub fn dependents(&self, of: &Key, owner: &Value) -> Vec<Key> {
        let uid = &owner["metadata"]["uid"];
        let depends = |(key, value): &(&Key, &Value)| {
            let owners = value["metadata"]["ownerReferences"].as_array();
            owners.is_some_and(|owners| owners.iter().any(|owner| owner["uid"] == *uid))
                || of.0 == "namespaces" && key.1 == of.2
        };
        let all = self.all();
        all.filter(depends).map(|(key, _)| key.clone()).collect()
    }

    /// Removes the references to an owner.
    fn release_dependents(&mut self, owner: &Value) {
        let uid = &owner["metadata"]["uid"];
        // Not the key of a namespace, which would select its contents.
        let no_key = ("", String::new(), String::new());
        for key in self.dependents(&no_key, owner) {
            let Some(mut object) = self.get(&key).cloned() else {
                continue;
            };
            if let Some(owners) = object["metadata"]["ownerReferences"].as_array_mut() {
                owners.retain(|owner| owner["uid"] != *uid);
            }
            self.put(&key, object);
        }
    }
}

fn finalizers(object: &Value) -> Vec<Value> {
    let list = object["metadata"]["finalizers"].as_array();
    list.cloned().unwrap_or_default()
}

fn add_finalizer(object: &mut Value, name: &str) {
    let list = &mut object["metadata"]["finalizers"];
    if !list.is_array() {
        *list = json!([]);
    }
    if let Some(list) = list.as_array_mut()
        && !list.iter().any(|finalizer| finalizer == name)
    {
        list.push(name.into());
    }
}
