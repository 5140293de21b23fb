//! Field paths, as used by server-side apply.

use std::collections::BTreeSet;
use std::fmt::{self, Write};

use serde_json::{Map, Value, json};

/// An element of a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// A member of an object.
    Field(String),
    /// An item of a list by its keys, which are JSON.
    Key(String),
    /// An item of a list that is a set, as JSON.
    Item(String),
}

/// The path of a field in an object.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Path(pub Vec<Step>);

/// A set of fields.
pub type FieldSet = BTreeSet<Path>;

impl Path {
    /// Returns the path of a member.
    pub fn field(&self, name: &str) -> Self {
        self.with(Step::Field(name.to_owned()))
    }

    fn with(&self, step: Step) -> Self {
        Self([self.0.as_slice(), &[step]].concat())
    }

    /// Returns whether it is an item of a list with keys, which has no value itself.
    pub fn is_item(&self) -> bool {
        matches!(self.0.last(), Some(Step::Key(_)))
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.0 {
            match step {
                Step::Field(name) => write!(f, ".{name}")?,
                Step::Item(value) => write!(f, "[={value}]")?,
                Step::Key(keys) => {
                    let keys: Map<String, Value> = serde_json::from_str(keys).unwrap_or_default();
                    let pairs: Vec<_> = keys
                        .iter()
                        .map(|(key, value)| format!("{key}={value}"))
                        .collect();
                    write!(f, "[{}]", pairs.join(","))?;
                }
            }
        }
        Ok(())
    }
}

/// How a value is merged.
pub enum Shape {
    /// Member by member.
    Granular,
    /// As a whole.
    Atomic,
    /// Item by item, identified by these members.
    Keyed(&'static [&'static str]),
    /// Item by item, identified by value.
    Set,
}

/// Returns how the value at a path is merged, according to the Kubernetes schemas.
pub fn shape(path: &Path, value: &Value) -> Shape {
    let Some(Step::Field(name)) = path.0.last() else {
        return Shape::Granular;
    };
    let in_list_item = path.0.iter().any(|step| matches!(step, Step::Key(_)));
    match (name.as_str(), value) {
        (
            "selector" | "nodeSelector" | "labelSelector" | "secretKeyRef" | "configMapKeyRef"
            | "fieldRef" | "resourceFieldRef",
            _,
        ) => Shape::Atomic,
        (
            "containers" | "initContainers" | "env" | "volumes" | "imagePullSecrets" | "secrets",
            Value::Array(_),
        ) => Shape::Keyed(&["name"]),
        ("volumeMounts", Value::Array(_)) => Shape::Keyed(&["mountPath"]),
        ("ports", Value::Array(_)) if in_list_item => Shape::Keyed(&["containerPort", "protocol"]),
        ("ports", Value::Array(_)) if path.0.len() == 2 => Shape::Keyed(&["port", "protocol"]),
        ("conditions", Value::Array(_)) => Shape::Keyed(&["type"]),
        ("ownerReferences", Value::Array(_)) => Shape::Keyed(&["uid"]),
        ("hostAliases", Value::Array(_)) => Shape::Keyed(&["ip"]),
        ("finalizers", Value::Array(_)) => Shape::Set,
        (_, Value::Array(_)) => Shape::Atomic,
        _ => Shape::Granular,
    }
}

/// Returns the keys of an item as JSON. The default protocol of a port is TCP.
pub fn keys_of(item: &Value, names: &[&str]) -> String {
    let value = |name: &str| match &item[name] {
        Value::Null if name == "protocol" => json!("TCP"),
        value => value.clone(),
    };
    let keys: Map<_, _> = names
        .iter()
        .map(|name| ((*name).to_owned(), value(name)))
        .collect();
    Value::Object(keys).to_string()
}

fn position(items: &[Value], keys: &str) -> Option<usize> {
    let wanted: Map<String, Value> = serde_json::from_str(keys).ok()?;
    let names: Vec<&str> = wanted.keys().map(String::as_str).collect();
    items.iter().position(|item| keys_of(item, &names) == keys)
}

/// Returns the fields of an object that a manager can own.
pub fn fields_of(object: &Value) -> FieldSet {
    let mut fields = FieldSet::new();
    let root = Path::default();
    for (name, value) in object.as_object().into_iter().flatten() {
        match name.as_str() {
            "apiVersion" | "kind" | "status" => {}
            "metadata" => {
                for name in ["labels", "annotations", "finalizers", "ownerReferences"] {
                    if let Some(value) = value.get(name) {
                        collect(value, &root.field("metadata").field(name), &mut fields);
                    }
                }
            }
            _ => collect(value, &root.field(name), &mut fields),
        }
    }
    fields
}

fn collect(value: &Value, path: &Path, fields: &mut FieldSet) {
    match (shape(path, value), value) {
        (Shape::Granular, Value::Object(members)) if !members.is_empty() => {
            for (name, value) in members {
                collect(value, &path.field(name), fields);
            }
        }
        (Shape::Keyed(names), Value::Array(items)) if !items.is_empty() => {
            for item in items {
                let path = path.with(Step::Key(keys_of(item, names)));
                fields.insert(path.clone());
                collect(item, &path, fields);
            }
        }
        (Shape::Set, Value::Array(items)) if !items.is_empty() => {
            for item in items {
                fields.insert(path.with(Step::Item(item.to_string())));
            }
        }
        _ => {
            fields.insert(path.clone());
        }
    }
}

/// Returns the value at a path.
pub fn get<'a>(object: &'a Value, path: &Path) -> Option<&'a Value> {
    path.0.iter().try_fold(object, |value, step| match step {
        Step::Field(name) => value.get(name),
        Step::Key(keys) => {
            let items = value.as_array()?;
            items.get(position(items, keys)?)
        }
        Step::Item(text) => value
            .as_array()?
            .iter()
            .find(|item| item.to_string() == *text),
    })
}

/// Removes a field, and the objects and lists above it that become empty.
pub fn remove(value: &mut Value, path: &[Step]) {
    let Some((step, rest)) = path.split_first() else {
        return;
    };
    let is_empty = |value: &Value| *value == json!({}) || *value == json!([]);
    match (step, value) {
        (Step::Field(name), Value::Object(members)) => {
            if let Some(member) = members.get_mut(name) {
                remove(member, rest);
                if rest.is_empty() || is_empty(member) {
                    members.shift_remove(name);
                }
            }
        }
        (Step::Key(keys), Value::Array(items)) => {
            if let Some(at) = position(items, keys) {
                remove(&mut items[at], rest);
                if rest.is_empty() {
                    items.remove(at);
                }
            }
        }
        (Step::Item(text), Value::Array(items)) => {
            let removed: Option<Value> = serde_json::from_str(text).ok();
            items.retain(|item| Some(item) != removed.as_ref());
        }
        _ => {}
    }
}

/// Merges an applied configuration into a live object.
pub fn merge(live: &mut Value, applied: &Value, path: &Path) {
    match (shape(path, applied), live, applied) {
        (Shape::Granular, Value::Object(live), Value::Object(applied)) => {
            for (name, value) in applied {
                let member = live.entry(name.clone()).or_insert(Value::Null);
                merge(member, value, &path.field(name));
            }
        }
        (Shape::Keyed(names), Value::Array(live), Value::Array(applied)) => {
            let mut rest = std::mem::take(live);
            for item in applied {
                let keys = keys_of(item, names);
                let mut merged = match position(&rest, &keys) {
                    Some(at) => rest.remove(at),
                    None => json!({}),
                };
                merge(&mut merged, item, &path.with(Step::Key(keys)));
                live.push(merged);
            }
            live.append(&mut rest);
        }
        (Shape::Set, Value::Array(live), Value::Array(applied)) => {
            for item in applied {
                if !live.contains(item) {
                    live.push(item.clone());
                }
            }
        }
        (_, live, applied) => *live = applied.clone(),
    }
}

/// Encodes fields in the format of `managedFields`.
pub fn encode(fields: &FieldSet) -> Value {
    let mut root = json!({});
    let name = |step: &Step| match step {
        Step::Field(name) => format!("f:{name}"),
        Step::Key(keys) => format!("k:{keys}"),
        Step::Item(value) => format!("v:{value}"),
    };
    for path in fields {
        let node = path
            .0
            .iter()
            .fold(&mut root, |node, step| &mut node[name(step)]);
        if node.is_null() {
            *node = json!({});
        }
        // Shorter paths come first, so an item comes before its contents.
        if path.is_item() {
            node["."] = json!({});
        }
    }
    root
}

/// Decodes fields in the format of `managedFields`.
pub fn decode(encoded: &Value) -> FieldSet {
    let mut fields = FieldSet::new();
    decode_below(encoded, &Path::default(), &mut fields);
    fields
}

fn decode_below(node: &Value, path: &Path, fields: &mut FieldSet) {
    let members = node.as_object().into_iter().flatten();
    let mut is_leaf = true;
    for (name, below) in members {
        is_leaf = false;
        let Some((kind, rest)) = name.split_once(':') else {
            fields.insert(path.clone());
            continue;
        };
        let step = match kind {
            "f" => Step::Field(rest.to_owned()),
            "k" => Step::Key(rest.to_owned()),
            _ => Step::Item(rest.to_owned()),
        };
        decode_below(below, &path.with(step), fields);
    }
    if is_leaf && !path.0.is_empty() {
        fields.insert(path.clone());
    }
}

/// Formats paths as a list with one line each.
pub fn lines<'a>(paths: impl Iterator<Item = &'a Path>) -> String {
    paths.fold(String::new(), |mut text, path| {
        let _ = write!(text, "\n- {path}");
        text
    })
}
