//! Patches other than server-side apply: merge, strategic merge, and JSON patch.

use serde_json::{Map, Value};

use super::fields::{Path, Shape, keys_of, shape};
use super::status::Status;

/// Applies a patch of this media type to an object.
pub fn patch(object: &mut Value, patch: &Value, media_type: &str) -> Result<(), Status> {
    match media_type {
        "application/merge-patch+json" => merge(object, patch),
        "application/strategic-merge-patch+json" => strategic(object, patch, &Path::default()),
        "application/json-patch+json" => {
            for operation in patch.as_array().into_iter().flatten() {
                operate(object, operation)?;
            }
        }
        other => {
            let message = format!("the body of the request was in an unknown format: {other}");
            return Err(Status::new(415, "UnsupportedMediaType", message));
        }
    }
    Ok(())
}

fn as_object(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    match value {
        Value::Object(members) => members,
        _ => unreachable!("it was made one"),
    }
}

fn merge(value: &mut Value, patch: &Value) {
    let Value::Object(changes) = patch else {
        *value = patch.clone();
        return;
    };
    let members = as_object(value);
    for (name, change) in changes {
        match change {
            Value::Null => drop(members.shift_remove(name)),
            change => merge(members.entry(name.clone()).or_insert(Value::Null), change),
        }
    }
}

fn strategic(value: &mut Value, patch: &Value, path: &Path) {
    match (shape(path, patch), patch) {
        (Shape::Keyed(names), Value::Array(changes)) => {
            if !value.is_array() {
                *value = Value::Array(Vec::new());
            }
            let Value::Array(items) = value else { return };
            for change in changes {
                let keys = keys_of(change, names);
                let at = items.iter().position(|item| keys_of(item, names) == keys);
                match (at, change["$patch"].as_str()) {
                    (Some(at), Some("delete")) => drop(items.remove(at)),
                    (None, Some("delete")) => {}
                    (Some(at), _) => strategic(&mut items[at], change, &in_item(path, &keys)),
                    (None, _) => {
                        let mut item = Value::Null;
                        strategic(&mut item, change, &in_item(path, &keys));
                        items.push(item);
                    }
                }
            }
        }
        // Only server-side apply treats a selector as atomic.
        (_, Value::Object(changes)) => {
            if changes.get("$patch").and_then(Value::as_str) == Some("replace") {
                *value = Value::Null;
            }
            let members = as_object(value);
            if let Some(kept) = changes.get("$retainKeys").and_then(Value::as_array) {
                members.retain(|name, _| kept.iter().any(|kept| kept == name.as_str()));
            }
            for (name, change) in changes {
                match change {
                    _ if name.starts_with('$') => {}
                    Value::Null => drop(members.shift_remove(name)),
                    change => {
                        let member = members.entry(name.clone()).or_insert(Value::Null);
                        strategic(member, change, &path.field(name));
                    }
                }
            }
        }
        _ => *value = patch.clone(),
    }
}

fn in_item(path: &Path, keys: &str) -> Path {
    let mut path = path.clone();
    path.0.push(super::fields::Step::Key(keys.to_owned()));
    path
}

/// Executes an operation of a JSON patch.
fn operate(object: &mut Value, operation: &Value) -> Result<(), Status> {
    let pointer = operation["path"].as_str().unwrap_or_default();
    let failed = || Status::bad_request(format!("the server rejected our request: no {pointer}"));
    let (parent, name) = pointer.rsplit_once('/').ok_or_else(failed)?;
    let name = name.replace("~1", "/").replace("~0", "~");
    let parent = object.pointer_mut(parent).ok_or_else(failed)?;
    let value = operation["value"].clone();
    match (operation["op"].as_str().unwrap_or_default(), parent) {
        ("add" | "replace", Value::Object(members)) => drop(members.insert(name, value)),
        ("remove", Value::Object(members)) => drop(members.shift_remove(&name).ok_or_else(failed)?),
        ("test", Value::Object(members)) if members.get(&name) == Some(&value) => {}
        ("add", Value::Array(items)) if name == "-" => items.push(value),
        (operation, Value::Array(items)) => {
            let at: usize = name.parse().map_err(|_| failed())?;
            match operation {
                "add" if at <= items.len() => items.insert(at, value),
                "replace" if at < items.len() => items[at] = value,
                "remove" if at < items.len() => drop(items.remove(at)),
                "test" if items.get(at) == Some(&value) => {}
                _ => return Err(failed()),
            }
        }
        _ => return Err(failed()),
    }
    Ok(())
}
