//! The JSON Schema of the manifest, for editors.

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

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
