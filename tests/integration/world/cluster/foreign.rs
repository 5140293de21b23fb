//! A cluster that does not belong to the tests: the kubeconfig context in `XP_TEST_CONTEXT`.

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard};

use serde_json::{Value, json};

use super::Access;
use super::namespace::{Namespace, Owner};
use crate::process;
use crate::world::{closed_port, run_prefix};

/// The label of the namespaces of tests, for those that a killed run left behind.
const LABEL: &str = "x-platform.test";

/// A foreign cluster, in which each test has its own namespaces.
pub struct ForeignCluster {
    context: String,
    /// The context with its cluster and user, without references to files.
    config: Value,
    namespaces: Mutex<BTreeSet<String>>,
}

impl ForeignCluster {
    /// Returns the cluster that the environment selects.
    pub fn selected() -> Result<Option<Arc<Self>>, String> {
        let Ok(context) = std::env::var("XP_TEST_CONTEXT") else {
            return Ok(None);
        };
        let mut command = kubectl(&context);
        command.args([
            "config",
            "view",
            "--raw",
            "--minify",
            "--flatten",
            "--output=json",
        ]);
        let output = process::run(&mut command);
        let config: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        if config["contexts"][0].is_null() {
            let message = process::text(&output.stderr);
            return Err(format!("XP_TEST_CONTEXT={context}: {message}"));
        }
        Ok(Some(Arc::new(Self {
            context,
            config,
            namespaces: Mutex::default(),
        })))
    }

    /// Creates a namespace with a unique name.
    pub fn namespace(self: &Arc<Self>, name: &str) -> Result<Namespace, String> {
        let name = format!("{}-{name}", run_prefix());
        let object = json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": { "name": name, "labels": { LABEL: run_prefix() } },
        });
        self.namespaces().insert(name.clone());
        let mut create = kubectl(&self.context);
        create.args(["create", "--filename=-"]);
        let created = process::run_with_input(&mut create, object.to_string().as_bytes());
        if !created.status.success() {
            return Err(process::text(&created.stderr));
        }
        Ok(Namespace {
            name,
            owner: Owner::Foreign(Arc::clone(self)),
        })
    }

    /// Returns an object.
    pub fn object(&self, namespace: &str, resource: &str, name: &str) -> Option<Value> {
        let found = self.get(namespace, &[resource, name, "--ignore-not-found"]);
        (!found.is_null()).then_some(found)
    }

    /// Returns the objects of a resource, by name.
    pub fn objects(&self, namespace: &str, resource: &str) -> Vec<Value> {
        let list = self.get(namespace, &[resource]);
        let mut objects = list["items"].as_array().cloned().unwrap_or_default();
        // Each namespace has this one.
        objects.retain(|object| {
            let name = &object["metadata"]["name"];
            object["kind"] != "ConfigMap" || name != "kube-root-ca.crt"
        });
        objects
    }

    fn get(&self, namespace: &str, words: &[&str]) -> Value {
        let mut get = kubectl(&self.context);
        get.args(["--namespace", namespace, "get", "--output=json"]);
        let output = process::run(get.args(words));
        let message = process::text(&output.stderr);
        assert!(output.status.success(), "{words:?}: {message}");
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    }

    /// Deletes a namespace with everything in it.
    pub fn delete(&self, namespace: &str) {
        let mut delete = kubectl(&self.context);
        delete.args([
            "delete",
            "namespace",
            namespace,
            "--ignore-not-found",
            "--timeout=120s",
        ]);
        let output = process::run(&mut delete);
        if output.status.success() {
            self.namespaces().remove(namespace);
        } else {
            eprintln!("{namespace}: {}", process::text(&output.stderr));
        }
    }

    /// Deletes the namespaces that are left.
    pub fn stop(&self) {
        let left = self.namespaces().clone();
        for namespace in left {
            self.delete(&namespace);
        }
    }

    /// Returns a kubeconfig with these contexts. All users but [`Access::Stranger`] are that of the context.
    pub fn kubeconfig(&self, contexts: &[(&str, Access)]) -> String {
        let cluster = &self.config["clusters"][0];
        let nowhere = format!("https://127.0.0.1:{}", closed_port());
        let contexts: Vec<Value> = contexts
            .iter()
            .map(|(name, access)| {
                let cluster = match access {
                    Access::Nowhere => "nowhere".into(),
                    _ => cluster["name"].clone(),
                };
                let user = match access {
                    Access::Stranger => "stranger".into(),
                    _ => self.config["users"][0]["name"].clone(),
                };
                json!({ "name": name, "context": { "cluster": cluster, "user": user } })
            })
            .collect();
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": contexts[0]["name"],
            "clusters": [cluster, { "name": "nowhere", "cluster": { "server": nowhere } }],
            "users": [
                self.config["users"][0],
                { "name": "stranger", "user": { "token": "token-of-stranger" } },
            ],
            "contexts": contexts,
        });
        format!("{config:#}\n")
    }

    fn namespaces(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.namespaces.lock().expect("not poisoned")
    }
}

/// Returns `kubectl` with the caller's kubeconfig.
fn kubectl(context: &str) -> Command {
    let mut command = Command::new("kubectl");
    command.args(["--context", context]);
    command
}
