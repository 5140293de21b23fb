//! Environment variables of containers.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

use super::Waiting;

/// What values can refer to.
pub struct Source<'a> {
    pub pod: &'a Value,
    /// Returns a Secret or ConfigMap of the namespace by resource and name.
    pub object: &'a dyn Fn(&str, &str) -> Option<Value>,
}

impl Source<'_> {
    /// Returns the variables of a container.
    pub fn variables(&self, container: &Value) -> Result<BTreeMap<String, String>, Waiting> {
        let mut variables = BTreeMap::new();
        for from in container["envFrom"].as_array().into_iter().flatten() {
            let prefix = from["prefix"].as_str().unwrap_or_default();
            for (member, resource) in [("secretRef", "secrets"), ("configMapRef", "configmaps")] {
                if let Some(data) = self.data(resource, &from[member], "name")? {
                    let named = data
                        .into_iter()
                        .map(|(key, value)| (format!("{prefix}{key}"), value));
                    variables.extend(named.map(|(key, value)| (key, lossy(&value))));
                }
            }
        }
        for variable in container["env"].as_array().into_iter().flatten() {
            let name = variable["name"].as_str().unwrap_or_default().to_owned();
            let value = match variable["value"].as_str() {
                Some(value) => Some(expand(value, &variables)),
                None if variable["valueFrom"].is_null() => Some(String::new()),
                None => self.value_from(&variable["valueFrom"])?,
            };
            if let Some(value) = value {
                variables.insert(name, value);
            }
        }
        Ok(variables)
    }

    /// Returns the contents of the Secret or ConfigMap that a reference names; `None` if it is optional and missing.
    pub fn data(
        &self,
        resource: &str,
        reference: &Value,
        name_member: &str,
    ) -> Result<Option<BTreeMap<String, Vec<u8>>>, Waiting> {
        let Some(name) = reference[name_member].as_str() else {
            return Ok(None);
        };
        let Some(object) = (self.object)(resource, name) else {
            if reference["optional"] == true {
                return Ok(None);
            }
            let kind = resource.trim_end_matches('s');
            return Err(Waiting::new(
                "CreateContainerConfigError",
                format!("{kind} {name:?} not found"),
            ));
        };
        let members = |name: &str| object[name].as_object().cloned().unwrap_or_default();
        let decoded = |value: &Value| {
            let text = value.as_str().unwrap_or_default();
            BASE64_STANDARD.decode(text).unwrap_or_default()
        };
        let is_secret = resource == "secrets";
        let text = members("data").into_iter().map(|(key, value)| {
            let plain = || value.as_str().unwrap_or_default().as_bytes().to_vec();
            let value = if is_secret { decoded(&value) } else { plain() };
            (key, value)
        });
        let binary = members("binaryData").into_iter();
        Ok(Some(
            text.chain(binary.map(|(key, value)| (key, decoded(&value))))
                .collect(),
        ))
    }

    fn value_from(&self, from: &Value) -> Result<Option<String>, Waiting> {
        for (member, resource) in [
            ("secretKeyRef", "secrets"),
            ("configMapKeyRef", "configmaps"),
        ] {
            let reference = &from[member];
            let Some(key) = reference["key"].as_str() else {
                continue;
            };
            let Some(data) = self.data(resource, reference, "name")? else {
                return Ok(None);
            };
            return match data.get(key) {
                Some(value) => Ok(Some(lossy(value))),
                None if reference["optional"] == true => Ok(None),
                None => {
                    let kind = if resource == "secrets" {
                        "Secret"
                    } else {
                        "ConfigMap"
                    };
                    let namespace = self.pod["metadata"]["namespace"]
                        .as_str()
                        .unwrap_or_default();
                    let name = reference["name"].as_str().unwrap_or_default();
                    let message = format!("couldn't find key {key} in {kind} {namespace}/{name}");
                    Err(Waiting::new("CreateContainerConfigError", message))
                }
            };
        }
        let path = from["fieldRef"]["fieldPath"].as_str();
        Ok(Some(path.map(|path| self.field(path)).unwrap_or_default()))
    }

    /// Returns a field of the pod, such as `metadata.labels['app']`.
    pub fn field(&self, path: &str) -> String {
        let (path, key) = match path.split_once("['") {
            Some((path, key)) => (path, Some(key.trim_end_matches("']"))),
            None => (path, None),
        };
        let value = path.split('.').fold(self.pod, |value, name| &value[name]);
        let value = key.map_or(value, |key| &value[key]);
        value.as_str().unwrap_or_default().to_owned()
    }
}

fn lossy(value: &[u8]) -> String {
    String::from_utf8_lossy(value).into_owned()
}

/// Replaces `$(NAME)` with the value of a variable; `$$` is a literal dollar sign.
pub fn expand(text: &str, variables: &BTreeMap<String, String>) -> String {
    let mut expanded = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        expanded.push_str(&rest[..at]);
        rest = &rest[at..];
        let name = rest
            .strip_prefix("$(")
            .and_then(|inner| inner.split_once(')'))
            .map(|(name, _)| name);
        if rest.starts_with("$$") {
            expanded.push('$');
            rest = &rest[2..];
        } else if let Some(value) = name.and_then(|name| variables.get(name)) {
            expanded.push_str(value);
            rest = &rest[name.map_or(0, str::len) + 3..];
        } else {
            expanded.push('$');
            rest = &rest[1..];
        }
    }
    expanded + rest
}
