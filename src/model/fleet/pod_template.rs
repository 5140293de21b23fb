//! The user's pod template, and the worker's container in it.

use serde_json::{Map, Value, json};
use thiserror::Error;

use super::{CONTAINER, UNIT_FILE, UNIT_FOLDER, WORK_FOLDER};
use crate::base::error::{Diagnostic, Exit};

/// The volume of the Secret.
const UNIT_VOLUME: &str = "xp-unit";

/// The volume that the worker writes to, if the template has none.
const WORK_VOLUME: &str = "xp-work";

/// The file with git's logins.
pub const GIT_CREDENTIALS: &str = "git-credentials";

/// A pod template: `metadata` and `spec`.
#[derive(Debug, Clone, PartialEq)]
pub struct PodTemplate {
    metadata: Map<String, Value>,
    spec: Map<String, Value>,
}

/// A file is not a pod template.
#[derive(Debug, Error)]
#[error("{file} is not a pod template: {why}")]
pub struct InvalidTemplate {
    pub file: String,
    pub why: String,
}

impl Diagnostic for InvalidTemplate {
    fn exit(&self) -> Exit {
        Exit::Usage
    }

    fn hints(&self) -> Vec<String> {
        vec!["it must be one object of the kind `Pod` or `PodTemplate`, or just `metadata` and `spec`; docs/fleet.md has an example".to_owned()]
    }
}

impl Default for PodTemplate {
    /// Returns a pod without engine.
    fn default() -> Self {
        Self {
            metadata: Map::new(),
            spec: Map::new(),
        }
    }
}

impl PodTemplate {
    /// Parses a file in YAML or JSON.
    ///
    /// # Errors
    ///
    /// It is not a pod template.
    pub fn parse(text: &str, file: &str) -> Result<Self, InvalidTemplate> {
        let invalid = |why: String| InvalidTemplate {
            file: file.to_owned(),
            why,
        };
        let value: Value = serde_saphyr::from_str(text).map_err(|error| {
            let text = error.to_string();
            invalid(text.lines().next().unwrap_or_default().to_owned())
        })?;
        let object = match value["kind"].as_str() {
            None | Some("Pod") => &value,
            Some("PodTemplate") => &value["template"],
            Some(kind) => return Err(invalid(format!("its kind is `{kind}`"))),
        };
        let part = |key: &str| match &object[key] {
            Value::Null => Ok(Map::new()),
            Value::Object(members) => Ok(members.clone()),
            _ => Err(invalid(format!("`{key}` must be a mapping"))),
        };
        let template = Self {
            metadata: part("metadata")?,
            spec: part("spec")?,
        };
        if !object["spec"].is_object() {
            return Err(invalid("it has no `spec`".to_owned()));
        }
        for key in ["containers", "volumes", "initContainers"] {
            let list = template.spec.get(key);
            if list.is_some_and(|list| !list.is_array() && !list.is_null()) {
                return Err(invalid(format!("`spec.{key}` must be a list")));
            }
        }
        Ok(template)
    }

    /// Returns whether the worker's container sets a variable.
    pub fn sets(&self, variable: &str) -> bool {
        let container = self.container();
        let variables = container.and_then(|it| it["env"].as_array());
        let mut variables = variables.into_iter().flatten();
        variables.any(|it| it["name"] == variable)
    }

    /// Returns whether an engine may be reachable: the template says where it is, or mounts something at the default
    /// socket's folder.
    pub fn has_engine(&self) -> bool {
        let sockets = [
            "/var/run",
            "/run",
            "/var/run/docker.sock",
            "/run/docker.sock",
        ];
        let container = self.container();
        let has_more = container.is_some_and(|it| it["envFrom"].is_array());
        let mounts = container.and_then(|it| it["volumeMounts"].as_array());
        let mut mounts = mounts.into_iter().flatten();
        let mounts_socket = mounts.any(|it| {
            let path = it["mountPath"].as_str().unwrap_or_default();
            sockets.contains(&path.trim_end_matches('/'))
        });
        has_more || mounts_socket || self.sets("DOCKER_HOST") || self.sets("DOCKER_CONTEXT")
    }

    fn container(&self) -> Option<&Value> {
        let containers = self.spec.get("containers")?.as_array()?;
        containers.iter().find(|it| it["name"] == CONTAINER)
    }

    /// Returns the pod template of a Job, whose Secret has the given name and keys. What the template sets stays,
    /// except the command.
    pub fn of_job(
        &self,
        image: &str,
        secret: &str,
        keys: &[String],
        (labels, annotations): (&Value, &Value),
    ) -> Value {
        let mut metadata = self.metadata.clone();
        // A Job names its pods itself.
        metadata.remove("name");
        metadata.remove("namespace");
        for (key, own) in [("labels", labels), ("annotations", annotations)] {
            let mut all = object_at(&mut metadata, key);
            all.extend(own.as_object().cloned().unwrap_or_default());
            metadata.insert(key.to_owned(), Value::Object(all));
        }
        let mut spec = self.spec.clone();
        let mut containers = list_at(&mut spec, "containers");
        let position = containers.iter().position(|it| it["name"] == CONTAINER);
        let mut container = match position {
            Some(position) => containers.remove(position),
            None => json!({"name": CONTAINER}),
        };
        let has_work = mounts_work(&container);
        if let Value::Object(container) = &mut container {
            container.insert("image".to_owned(), json!(image));
            container.entry("command").or_insert_with(|| json!(["xp"]));
            let file = format!("{UNIT_FOLDER}/{UNIT_FILE}");
            container.insert("args".to_owned(), json!(["__worker", file]));
            let mut env = list_at(container, "env");
            env.extend(self.variables(keys));
            container.insert("env".to_owned(), Value::Array(env));
            let mut mounts = list_at(container, "volumeMounts");
            mounts.push(json!({"name": UNIT_VOLUME, "mountPath": UNIT_FOLDER, "readOnly": true}));
            if !has_work {
                mounts.push(json!({"name": WORK_VOLUME, "mountPath": WORK_FOLDER}));
            }
            container.insert("volumeMounts".to_owned(), Value::Array(mounts));
        }
        // `kubectl logs` without `-c` shows the first one.
        containers.insert(0, container);
        spec.insert("containers".to_owned(), Value::Array(containers));
        let mut volumes = list_at(&mut spec, "volumes");
        volumes.push(json!({"name": UNIT_VOLUME, "secret": {"secretName": secret}}));
        if !has_work {
            volumes.push(json!({"name": WORK_VOLUME, "emptyDir": {}}));
        }
        spec.insert("volumes".to_owned(), Value::Array(volumes));
        spec.insert("restartPolicy".to_owned(), json!("Never"));
        json!({"metadata": metadata, "spec": spec})
    }

    /// Returns the variables for the credentials in the Secret, unless the template has its own.
    fn variables(&self, keys: &[String]) -> Vec<Value> {
        let has = |name: &str| keys.iter().any(|key| key == name);
        let mut variables = Vec::new();
        if has("config.json") && !self.sets("DOCKER_CONFIG") {
            variables.push(json!({"name": "DOCKER_CONFIG", "value": UNIT_FOLDER}));
        }
        if has(GIT_CREDENTIALS) && !self.sets("GIT_CONFIG_COUNT") {
            let store = format!("store --file={UNIT_FOLDER}/{GIT_CREDENTIALS}");
            variables.push(json!({"name": "GIT_CONFIG_COUNT", "value": "1"}));
            variables.push(json!({"name": "GIT_CONFIG_KEY_0", "value": "credential.helper"}));
            variables.push(json!({"name": "GIT_CONFIG_VALUE_0", "value": store}));
        }
        variables
    }
}

/// Returns whether a container mounts something at the worker's folder.
fn mounts_work(container: &Value) -> bool {
    let mounts = container["volumeMounts"].as_array();
    let mut mounts = mounts.into_iter().flatten();
    mounts
        .any(|it| it["mountPath"].as_str().map(|it| it.trim_end_matches('/')) == Some(WORK_FOLDER))
}

fn object_at(members: &mut Map<String, Value>, key: &str) -> Map<String, Value> {
    match members.remove(key) {
        Some(Value::Object(found)) => found,
        _ => Map::new(),
    }
}

fn list_at(members: &mut Map<String, Value>, key: &str) -> Vec<Value> {
    match members.remove(key) {
        Some(Value::Array(found)) => found,
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENGINE: &str = "
kind: Pod
metadata: {name: x, labels: {team: a}}
spec:
  nodeSelector: {builds: 'yes'}
  initContainers:
    - {name: engine, image: docker:dind, restartPolicy: Always}
  containers:
    - name: xp
      env: [{name: DOCKER_HOST, value: 'tcp://localhost:2375'}]
      resources: {limits: {memory: 1Gi}}
  volumes: [{name: cache, emptyDir: {}}]
";

    fn keys(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn the_container_is_completed() {
        let template = PodTemplate::parse(ENGINE, "pod.yaml").unwrap();
        assert!(template.has_engine());
        let labels = json!({"app.kubernetes.io/managed-by": "xp"});
        let keys = keys(&["unit.json", "config.json", "git-credentials"]);
        let pod = template.of_job("r/xp:1", "xp-a-1", &keys, (&labels, &json!({})));
        assert_eq!(pod["metadata"]["labels"]["team"], "a");
        assert_eq!(
            pod["metadata"]["labels"]["app.kubernetes.io/managed-by"],
            "xp"
        );
        assert_eq!(pod["metadata"].get("name"), None);
        let spec = &pod["spec"];
        assert_eq!(spec["nodeSelector"]["builds"], "yes");
        assert_eq!(spec["restartPolicy"], "Never");
        assert_eq!(spec["volumes"].as_array().unwrap().len(), 3);
        let container = &spec["containers"][0];
        assert_eq!(container["args"], json!(["__worker", "/xp/unit/unit.json"]));
        assert_eq!(container["image"], "r/xp:1");
        assert_eq!(container["resources"]["limits"]["memory"], "1Gi");
        let names: Vec<&str> = container["env"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|it| it["name"].as_str())
            .collect();
        assert_eq!(names[..2], ["DOCKER_HOST", "DOCKER_CONFIG"]);
        assert!(names.contains(&"GIT_CONFIG_COUNT"));
    }

    #[test]
    fn the_templates_own_settings_stay() {
        let text = "spec: {containers: [{name: xp, env: [{name: DOCKER_CONFIG, value: /own}], \
            volumeMounts: [{name: w, mountPath: /xp/work/}, {name: s, mountPath: /var/run}]}]}";
        let template = PodTemplate::parse(text, "pod.yaml").unwrap();
        assert!(template.has_engine());
        let pod = template.of_job("i", "s", &keys(&["config.json"]), (&json!({}), &json!({})));
        let container = &pod["spec"]["containers"][0];
        assert_eq!(container["env"].as_array().unwrap().len(), 1);
        assert_eq!(container["volumeMounts"].as_array().unwrap().len(), 3);
        assert!(!PodTemplate::default().has_engine());
    }

    #[test]
    fn other_files_are_rejected() {
        for (text, why) in [
            ("kind: Deployment", "its kind is `Deployment`"),
            ("a: [", ""),
            ("metadata: {}", "it has no `spec`"),
            ("spec: {containers: {}}", "`spec.containers` must be a list"),
            ("spec: []", "`spec` must be a mapping"),
        ] {
            let error = PodTemplate::parse(text, "pod.yaml").unwrap_err();
            assert!(error.why.contains(why), "{error}");
        }
    }
}
