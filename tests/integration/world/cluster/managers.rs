//! Field ownership: server-side apply, and the effect of other writes.

use serde_json::{Value, json};

use super::fields::{self, FieldSet, Path};
use super::status::Status;
use super::store::now;

/// The fields of one manager.
#[derive(Clone, Debug, PartialEq)]
struct Entry {
    manager: String,
    /// `Apply` or `Update`.
    operation: String,
    api_version: String,
    time: String,
    fields: FieldSet,
}

impl Entry {
    fn new(manager: &str, operation: &str, object: &Value) -> Self {
        Self {
            manager: manager.to_owned(),
            operation: operation.to_owned(),
            api_version: text(&object["apiVersion"]),
            time: now(),
            fields: FieldSet::new(),
        }
    }

    fn is(&self, manager: &str, operation: &str) -> bool {
        self.manager == manager && self.operation == operation
    }

    /// Formats the manager as in conflict messages.
    fn label(&self) -> String {
        match self.operation.as_str() {
            "Update" => format!(
                "{:?} using {} at {}",
                self.manager, self.api_version, self.time
            ),
            _ => format!("{:?}", self.manager),
        }
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn entries_of(object: &Value) -> Vec<Entry> {
    let entries = object["metadata"]["managedFields"].as_array();
    let read = |entry: &Value| Entry {
        manager: text(&entry["manager"]),
        operation: text(&entry["operation"]),
        api_version: text(&entry["apiVersion"]),
        time: text(&entry["time"]),
        fields: fields::decode(&entry["fieldsV1"]),
    };
    entries.into_iter().flatten().map(read).collect()
}

fn write_entries(object: &mut Value, mut entries: Vec<Entry>) {
    entries.retain(|entry| !entry.fields.is_empty());
    let written = entries.iter().map(|entry| {
        json!({
            "manager": entry.manager, "operation": entry.operation,
            "apiVersion": entry.api_version, "time": entry.time,
            "fieldsType": "FieldsV1", "fieldsV1": fields::encode(&entry.fields),
        })
    });
    object["metadata"]["managedFields"] = written.collect();
}

/// Applies `config` as `manager`, which becomes the owner of its fields. Fields that were in its previous configuration
/// but not in this one are removed, unless another manager owns them too.
pub fn apply(
    live: Option<&Value>,
    config: &Value,
    manager: &str,
    force: bool,
) -> Result<Value, Status> {
    let named = fields::fields_of(config);
    let mut object = live.cloned().unwrap_or_else(|| json!({ "metadata": {} }));
    let mut entries = entries_of(&object);
    let (mut own, mut conflicts) = (None, Vec::new());
    entries.retain_mut(|entry| {
        if entry.is(manager, "Apply") {
            own = Some(entry.clone());
            return false;
        }
        let taken: Vec<Path> = entry
            .fields
            .intersection(&named)
            .filter(|path| {
                !path.is_item()
                    && fields::get(config, path) != live.and_then(|live| fields::get(live, path))
            })
            .cloned()
            .collect();
        entry.fields.retain(|path| !taken.contains(path));
        if !taken.is_empty() {
            conflicts.push((entry.clone(), taken));
        }
        true
    });
    if !force && !conflicts.is_empty() {
        return Err(conflict(&conflicts));
    }

    fields::merge(&mut object, config, &Path::default());
    let mut own = own.unwrap_or_else(|| Entry::new(manager, "Apply", config));
    for path in own.fields.difference(&named) {
        if !entries.iter().any(|entry| entry.fields.contains(path)) {
            fields::remove(&mut object, &path.0);
        }
    }
    if own.fields != named {
        own.time = now();
    }
    own.fields = named;
    entries.push(own);
    write_entries(&mut object, entries);
    Ok(object)
}

/// Records that `manager` replaced `old` with `object`: it becomes the owner of the changed fields.
pub fn update(old: Option<&Value>, object: &mut Value, manager: &str) {
    let mut entries = entries_of(old.unwrap_or(&Value::Null));
    let before = old.map(fields::fields_of).unwrap_or_default();
    let after = fields::fields_of(object);
    let is_new = |path: &&Path| {
        !before.contains(path)
            || !path.is_item()
                && old.and_then(|old| fields::get(old, path)) != fields::get(object, path)
    };
    let changed: FieldSet = after.iter().filter(is_new).cloned().collect();
    let mut own = None;
    entries.retain_mut(|entry| {
        entry.fields.retain(|path| after.contains(path));
        if entry.is(manager, "Update") {
            own = Some(entry.clone());
            return false;
        }
        entry.fields.retain(|path| !changed.contains(path));
        true
    });
    let mut own = own.unwrap_or_else(|| Entry::new(manager, "Update", object));
    if !changed.is_empty() {
        own.time = now();
    }
    own.fields.extend(changed);
    entries.push(own);
    write_entries(object, entries);
}

fn conflict(conflicts: &[(Entry, Vec<Path>)]) -> Status {
    let causes: Vec<Value> = conflicts
        .iter()
        .flat_map(|(entry, paths)| {
            paths.iter().map(|path| {
                json!({
                    "reason": "FieldManagerConflict",
                    "message": format!("conflict with {}", entry.label()),
                    "field": path.to_string(),
                })
            })
        })
        .collect();
    let message = match conflicts {
        [(entry, paths)] if paths.len() == 1 => {
            format!(
                "Apply failed with 1 conflict: conflict with {}: {}",
                entry.label(),
                paths[0]
            )
        }
        _ => {
            let of_managers = conflicts.iter().map(|(entry, paths)| {
                format!(
                    "conflicts with {}:{}",
                    entry.label(),
                    fields::lines(paths.iter())
                )
            });
            let of_managers: Vec<_> = of_managers.collect();
            format!(
                "Apply failed with {} conflicts: {}",
                causes.len(),
                of_managers.join("\n")
            )
        }
    };
    let mut status = Status::new(409, "Conflict", message);
    status.body["details"] = json!({ "causes": causes });
    status
}
