//! The JSON Schema of the manifest, for editors.

use std::collections::BTreeMap;

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::name::BuilderName;
use super::shape;

/// Returns the JSON Schema of the manifest, the content of `schema/x-platform.schema.json`.
///
/// It is draft 7 without `$ref`, which the YAML support of all editors understands.
pub fn schema() -> Value {
    let mut settings = SchemaSettings::draft07();
    settings.inline_subschemas = true;
    let mut schema = settings
        .into_generator()
        .into_root_schema_for::<shape::ManifestSchema>()
        .to_value();
    reject_null(&mut schema);
    if let Value::Object(root) = &mut schema {
        root.insert("title".to_owned(), json!("x-platform.yml"));
        require_keys_without_defaults(root);
    }
    schema
}

/// Returns the schema with the settings of some plugins that are built from folders.
pub fn schema_with_plugins(plugins: &BTreeMap<BuilderName, Value>) -> Value {
    let mut schema = schema();
    if !plugins.is_empty() {
        add_plugins(&mut schema, plugins);
    }
    schema
}

/// Adds the settings of plugins to each schema of an item of the scripts.
fn add_plugins(schema: &mut Value, plugins: &BTreeMap<BuilderName, Value>) {
    let is_item = schema["properties"]["plugin"].is_object();
    match schema {
        Value::Object(item) if is_item => {
            let names = plugins.keys().map(|name| format!("builders/{name}"));
            let names: Vec<String> = names.collect();
            item["properties"]["plugin"]["examples"] = json!(names);
            let rules = plugins.iter().map(|(name, with)| settings_rule(name, with));
            item.insert("allOf".to_owned(), rules.collect());
        }
        Value::Object(object) => object.values_mut().for_each(|it| add_plugins(it, plugins)),
        Value::Array(values) => values.iter_mut().for_each(|it| add_plugins(it, plugins)),
        _ => {}
    }
}

/// Returns the rule for the settings of one plugin.
fn settings_rule(name: &BuilderName, with: &Value) -> Value {
    let is_required = with["required"].as_array().is_some_and(|it| !it.is_empty());
    let required: &[&str] = if is_required { &["with"] } else { &[] };
    let image = format!("^builders/{}(:.*)?$", regex::escape(name.as_str()));
    json!({
        "if": { "properties": { "plugin": { "pattern": image } }, "required": ["plugin"] },
        "then": { "properties": { "with": with }, "required": required },
    })
}

/// Removes `null` from the types of optional keys: xp rejects it.
fn reject_null(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            object.shift_remove("format");
            if let Some(Value::Array(types)) = object.get_mut("type") {
                types.retain(|name| name != "null");
                if let [only] = types.as_mut_slice() {
                    let only = only.take();
                    object.insert("type".to_owned(), only);
                }
            }
            if let Some(Value::Array(mut choices)) = object.shift_remove("anyOf") {
                choices.retain(|choice| *choice != json!({ "type": "null" }));
                for choice in choices {
                    let Value::Object(choice) = choice else {
                        continue;
                    };
                    for (key, value) in choice {
                        // The description of the key is more specific than that of its type.
                        object.entry(key).or_insert(value);
                    }
                }
            }
            object.values_mut().for_each(reject_null);
        }
        Value::Array(values) => values.iter_mut().for_each(reject_null),
        _ => {}
    }
}

/// Without `defaults`, each service must have the required keys itself.
fn require_keys_without_defaults(root: &mut Map<String, Value>) {
    root.insert("if".to_owned(), json!({ "required": ["defaults"] }));
    root.insert(
        "else".to_owned(),
        json!({ "properties": { "services": { "additionalProperties": {
            "required": ["dir", "docker"],
            "oneOf": [{ "required": ["git"] }, { "required": ["scm"] }],
            "properties": {
                "git": { "required": ["remote"] },
                "scm": { "required": ["plugin"] },
                "docker": { "required": ["image"] },
            },
        } } } }),
    );
}
