//! JSON Schema, as far as settings need it.
//!
//! A keyword that would restrict values but is not supported is an error, so a schema never accepts more than its author
//! meant. There are complete implementations, but the best-kept one adds 40 crates for a few dozen lines of rules.

use std::collections::BTreeSet;

use regex::Regex;
use serde_json::{Map, Value};

use super::rejected::{RejectedSetting, Rejection};
use crate::base::suggest;

/// How deep references may be nested: a schema may refer to itself.
const MAX_DEPTH: usize = 64;

/// Keywords that only describe.
const ANNOTATIONS: [&str; 13] = [
    "$schema",
    "$id",
    "$comment",
    "$defs",
    "definitions",
    "title",
    "description",
    "default",
    "examples",
    "format",
    "deprecated",
    "readOnly",
    "writeOnly",
];

/// Keywords whose value is a schema.
const ONE: [&str; 7] = [
    "additionalProperties",
    "items",
    "propertyNames",
    "not",
    "if",
    "then",
    "else",
];

/// Keywords whose value is a list of schemas.
const LISTS: [&str; 3] = ["allOf", "anyOf", "oneOf"];

/// Keywords whose value is a mapping with schemas.
const MAPS: [&str; 4] = ["properties", "patternProperties", "$defs", "definitions"];

/// Keywords whose value is a number.
const NUMBERS: [&str; 11] = [
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
];

/// The names of types.
const TYPES: [&str; 7] = [
    "null", "boolean", "number", "integer", "string", "array", "object",
];

/// A keyword that limits numbers, whether a number satisfies the limit, and its words.
type NumberRule = (&'static str, fn(f64, f64) -> bool, &'static str);

/// A schema whose keywords are known.
pub struct SettingsSchema<'s>(&'s Value);

impl<'s> SettingsSchema<'s> {
    /// Checks a schema.
    ///
    /// # Errors
    ///
    /// It is invalid, or has a keyword that is not supported.
    pub fn new(schema: &'s Value) -> Result<Self, String> {
        check(schema, schema)?;
        Ok(Self(schema))
    }

    /// Returns the rejected parts of a value.
    pub fn validate(&self, value: &Value) -> Vec<RejectedSetting> {
        let mut validation = Validation {
            root: self.0,
            path: Vec::new(),
            rejected: Vec::new(),
        };
        validation.run(self.0, value, 0);
        validation.rejected
    }

    /// Returns the schema without references: what they refer to is copied. A reference to a schema that contains it
    /// accepts anything.
    pub fn inlined(&self) -> Value {
        let mut schema = inlined(self.0, self.0, 0);
        if let Value::Object(members) = &mut schema {
            members.retain(|key, _| !matches!(key.as_str(), "$defs" | "definitions" | "$schema"));
        }
        schema
    }
}

/// The number of references in each other that are copied.
const MAX_COPIES: usize = 8;

fn inlined(schema: &Value, root: &Value, copies: usize) -> Value {
    match schema {
        Value::Object(members) => match members.get("$ref").and_then(Value::as_str) {
            Some(_) if copies == MAX_COPIES => Value::Bool(true),
            Some(reference) => match target(reference, root) {
                Some(target) => inlined(target, root, copies + 1),
                None => Value::Bool(true),
            },
            None => {
                let members = members.iter();
                let members = members.map(|(key, it)| (key.clone(), inlined(it, root, copies)));
                Value::Object(members.collect())
            }
        },
        Value::Array(items) => items.iter().map(|it| inlined(it, root, copies)).collect(),
        value => value.clone(),
    }
}

/// Returns what a reference in a schema refers to.
fn target<'v>(reference: &str, root: &'v Value) -> Option<&'v Value> {
    root.pointer(reference.strip_prefix('#')?)
}

fn check(schema: &Value, root: &Value) -> Result<(), String> {
    let Value::Object(members) = schema else {
        return if schema.is_boolean() {
            Ok(())
        } else {
            Err(format!("a schema must be a mapping, not {schema}"))
        };
    };
    for (key, value) in members {
        let invalid = || format!("invalid value of `{key}`: {value}");
        match key.as_str() {
            "type" => {
                let names: Vec<&Value> = match value {
                    Value::Array(names) => names.iter().collect(),
                    name => vec![name],
                };
                let is_known = |it: &&Value| it.as_str().is_some_and(|it| TYPES.contains(&it));
                if !names.iter().all(is_known) {
                    return Err(invalid());
                }
            }
            "enum" if value.is_array() => {}
            "const" => {}
            "required" if names(value).is_some() => {}
            "uniqueItems" if value.is_boolean() => {}
            "pattern" => {
                let pattern = value.as_str().ok_or_else(invalid)?;
                Regex::new(pattern).map_err(|_| invalid())?;
            }
            "$ref" => {
                let reference = value.as_str().ok_or_else(invalid)?;
                if target(reference, root).is_none() {
                    return Err(format!("`{reference}` is not in the schema"));
                }
            }
            key if MAPS.contains(&key) => {
                let schemas = value.as_object().ok_or_else(invalid)?;
                if key == "patternProperties" && schemas.keys().any(|it| Regex::new(it).is_err()) {
                    return Err(invalid());
                }
                schemas.values().try_for_each(|it| check(it, root))?;
            }
            key if LISTS.contains(&key) => {
                let schemas = value.as_array().ok_or_else(invalid)?;
                schemas.iter().try_for_each(|it| check(it, root))?;
            }
            key if ONE.contains(&key) => check(value, root)?,
            key if NUMBERS.contains(&key) && value.is_number() => {}
            key if ANNOTATIONS.contains(&key) => {}
            "enum" | "required" | "uniqueItems" => return Err(invalid()),
            key if NUMBERS.contains(&key) => return Err(invalid()),
            _ => return Err(format!("the keyword `{key}` is not supported")),
        }
    }
    Ok(())
}

fn names(value: &Value) -> Option<Vec<&str>> {
    value.as_array()?.iter().map(Value::as_str).collect()
}

struct Validation<'s> {
    root: &'s Value,
    path: Vec<String>,
    rejected: Vec<RejectedSetting>,
}

impl Validation<'_> {
    fn reject(&mut self, reason: Rejection) {
        self.rejected.push(RejectedSetting {
            path: self.path.clone(),
            reason,
        });
    }

    /// Returns what a schema rejects, without reporting it.
    fn rejected_by(&self, schema: &Value, value: &Value, depth: usize) -> Vec<RejectedSetting> {
        let mut validation = Validation {
            root: self.root,
            path: self.path.clone(),
            rejected: Vec::new(),
        };
        validation.run(schema, value, depth + 1);
        validation.rejected
    }

    fn at(&mut self, part: String, schema: &Value, value: &Value, depth: usize) {
        self.path.push(part);
        self.run(schema, value, depth + 1);
        self.path.pop();
    }

    fn run(&mut self, schema: &Value, value: &Value, depth: usize) {
        let members = match schema {
            Value::Bool(false) => return self.reject(Rejection::NotAllowed),
            Value::Object(members) if depth < MAX_DEPTH => members,
            _ => return,
        };
        let of = |key: &str| members.get(key);
        if let Some(reference) = of("$ref").and_then(Value::as_str)
            && let Some(target) = target(reference, self.root)
        {
            self.run(target, value, depth + 1);
        }
        if let Some(types) = of("type")
            && !has_type(value, types)
        {
            // What else is wrong follows from it.
            return self.reject(Rejection::Type {
                wanted: type_names(types),
                found: type_of(value),
            });
        }
        if let Some(choices) = of("enum").and_then(Value::as_array)
            && !choices.iter().any(|choice| is_equal(choice, value))
        {
            self.reject(Rejection::NoneOf(choices.iter().map(shown).collect()));
        }
        if let Some(wanted) = of("const")
            && !is_equal(wanted, value)
        {
            self.reject(Rejection::NoneOf(vec![shown(wanted)]));
        }
        match value {
            Value::Number(_) => self.number(members, value),
            Value::String(text) => self.text(members, text),
            Value::Array(items) => self.list(members, items, depth),
            Value::Object(object) => self.mapping(members, object, depth),
            Value::Null | Value::Bool(_) => {}
        }
        self.combinations(members, value, depth);
    }

    fn number(&mut self, schema: &Map<String, Value>, value: &Value) {
        let limit = |key: &str| schema.get(key).and_then(Value::as_f64);
        let shown = |key: &str| schema.get(key).map(ToString::to_string).unwrap_or_default();
        let number = value.as_f64().unwrap_or_default();
        let rules: [NumberRule; 5] = [
            ("minimum", |it, limit| it >= limit, "at least"),
            ("maximum", |it, limit| it <= limit, "at most"),
            ("exclusiveMinimum", |it, limit| it > limit, "more than"),
            ("exclusiveMaximum", |it, limit| it < limit, "less than"),
            (
                "multipleOf",
                |it, limit| limit <= 0.0 || (it / limit).fract() == 0.0,
                "a multiple of",
            ),
        ];
        for (key, holds, words) in rules {
            if limit(key).is_some_and(|limit| !holds(number, limit)) {
                self.reject(Rejection::MustBe(format!("{words} {}", shown(key))));
            }
        }
    }

    fn text(&mut self, schema: &Map<String, Value>, text: &str) {
        self.length(schema, "Length", text.chars().count(), "character");
        if let Some(pattern) = schema.get("pattern").and_then(Value::as_str)
            && let Ok(regex) = Regex::new(pattern)
            && !regex.is_match(text)
        {
            self.reject(Rejection::Pattern(pattern.to_owned()));
        }
    }

    /// Checks `min…` and `max…` of a length.
    fn length(&mut self, schema: &Map<String, Value>, suffix: &str, length: usize, noun: &str) {
        let limit = |key: String| schema.get(&key).and_then(Value::as_u64);
        let counted = |count: u64| {
            let plural = if count == 1 { "" } else { "s" };
            format!("{count} {noun}{plural}")
        };
        let length = length as u64;
        if let Some(least) = limit(format!("min{suffix}")).filter(|least| length < *least) {
            self.reject(Rejection::MustHave(format!("at least {}", counted(least))));
        }
        if let Some(most) = limit(format!("max{suffix}")).filter(|most| length > *most) {
            self.reject(Rejection::MustHave(format!("at most {}", counted(most))));
        }
    }

    fn list(&mut self, schema: &Map<String, Value>, items: &[Value], depth: usize) {
        self.length(schema, "Items", items.len(), "item");
        let mut seen = items.iter().enumerate();
        let is_twice = |(index, item): (usize, &Value)| {
            let earlier = &items[..index];
            earlier.iter().any(|earlier| is_equal(earlier, item))
        };
        if schema.get("uniqueItems") == Some(&Value::Bool(true)) && seen.any(is_twice) {
            self.reject(Rejection::MustHave("distinct items".to_owned()));
        }
        if let Some(each) = schema.get("items") {
            for (index, item) in items.iter().enumerate() {
                self.at(index.to_string(), each, item, depth);
            }
        }
    }

    fn mapping(&mut self, schema: &Map<String, Value>, object: &Map<String, Value>, depth: usize) {
        self.length(schema, "Properties", object.len(), "key");
        let required = schema.get("required").and_then(names).unwrap_or_default();
        let mut missing = required;
        missing.retain(|it| !object.contains_key(*it));
        let map_of = |key: &str| schema.get(key).and_then(Value::as_object);
        let (properties, patterns) = (map_of("properties"), map_of("patternProperties"));
        for (name, value) in object {
            if let Some(names) = schema.get("propertyNames") {
                let of_name = self.rejected_by(names, &Value::String(name.clone()), depth);
                self.path.push(name.clone());
                for rejected in of_name {
                    self.reject(Rejection::Name(Box::new(rejected.reason)));
                }
                self.path.pop();
            }
            let own = properties.and_then(|it| it.get(name));
            let matching = patterns.into_iter().flatten();
            let matching = matching
                .filter(|(pattern, _)| Regex::new(pattern).is_ok_and(|regex| regex.is_match(name)));
            let schemas: Vec<&Value> = own
                .into_iter()
                .chain(matching.map(|(_, schema)| schema))
                .collect();
            for schema in &schemas {
                self.at(name.clone(), schema, value, depth);
            }
            match schema.get("additionalProperties") {
                Some(Value::Bool(false)) if schemas.is_empty() => {
                    let known = properties.into_iter().flat_map(Map::keys).cloned();
                    let known: BTreeSet<String> = known.collect();
                    let known = known.iter().map(String::as_str);
                    // A misspelled setting is one problem, not two.
                    if let Some(meant) = suggest::nearest(name, known.clone()) {
                        missing.retain(|it| *it != meant);
                    }
                    let hint = suggest::hint(name, "its settings", known);
                    self.path.push(name.clone());
                    self.reject(Rejection::Unknown(hint));
                    self.path.pop();
                }
                Some(others) if schemas.is_empty() => self.at(name.clone(), others, value, depth),
                _ => {}
            }
        }
        if !missing.is_empty() {
            let missing = missing.into_iter().map(str::to_owned).collect();
            self.reject(Rejection::Lacks(missing));
        }
    }

    fn combinations(&mut self, schema: &Map<String, Value>, value: &Value, depth: usize) {
        let list = |key: &str| schema.get(key).and_then(Value::as_array);
        for all in list("allOf").into_iter().flatten() {
            self.run(all, value, depth + 1);
        }
        for key in ["anyOf", "oneOf"] {
            let Some(choices) = list(key) else { continue };
            let each = choices.iter().map(|it| self.rejected_by(it, value, depth));
            let each: Vec<Vec<RejectedSetting>> = each.collect();
            match each.iter().filter(|rejected| rejected.is_empty()).count() {
                0 => self.reject(Rejection::NoForm(each.into_iter().flatten().collect())),
                1 => {}
                _ if key == "oneOf" => self.reject(Rejection::SeveralForms),
                _ => {}
            }
        }
        if let Some(not) = schema.get("not")
            && self.rejected_by(not, value, depth).is_empty()
        {
            self.reject(Rejection::NotAllowed);
        }
        if let Some(condition) = schema.get("if") {
            let holds = self.rejected_by(condition, value, depth).is_empty();
            let branch = schema.get(if holds { "then" } else { "else" });
            if let Some(branch) = branch {
                self.run(branch, value, depth + 1);
            }
        }
    }
}

fn has_type(value: &Value, types: &Value) -> bool {
    let is = |name: &str| match name {
        "integer" => value.as_f64().is_some_and(|number| number.fract() == 0.0),
        name => type_of(value) == name,
    };
    match types {
        Value::Array(names) => names.iter().filter_map(Value::as_str).any(is),
        name => name.as_str().is_some_and(is),
    }
}

fn type_names(types: &Value) -> Vec<String> {
    let names: Vec<&Value> = match types {
        Value::Array(names) => names.iter().collect(),
        name => vec![name],
    };
    let names = names.into_iter().filter_map(Value::as_str);
    names.map(str::to_owned).collect()
}

/// Returns the name of a value's type.
fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// Returns whether two values are equal; numbers are, however they are written.
fn is_equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(_), Value::Number(_)) => a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_equal(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            let is_same = |(key, value): (&String, &Value)| {
                b.get(key).is_some_and(|other| is_equal(value, other))
            };
            a.len() == b.len() && a.iter().all(is_same)
        }
        _ => a == b,
    }
}

/// Returns a value as in the manifest.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        value => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Returns the numbers of the values that a schema rejects.
    fn rejects(schema: Value, values: &[Value]) -> Vec<usize> {
        let schema = SettingsSchema::new(&schema).unwrap_or_else(|error| panic!("{error}"));
        let values = values.iter().enumerate();
        let rejected = values.filter(|(_, value)| !schema.validate(value).is_empty());
        rejected.map(|(index, _)| index).collect()
    }

    #[test]
    fn keywords_mean_what_the_standard_says() {
        for (schema, values, expected) in [
            (json!(true), json!([1]), vec![]),
            (json!(false), json!([1]), vec![0]),
            (
                json!({"type": "integer"}),
                json!([1, 1.0, 1.5, "1", true]),
                vec![2, 3, 4],
            ),
            (
                json!({"type": ["null", "string"]}),
                json!([null, "a", 1]),
                vec![2],
            ),
            (
                json!({"enum": [1, "a", [1]]}),
                json!([1.0, "a", [1], [2], "b"]),
                vec![3, 4],
            ),
            (
                json!({"const": {"a": 1}}),
                json!([{"a": 1.0}, {"a": 2}, {}]),
                vec![1, 2],
            ),
            (
                json!({"minimum": 1, "exclusiveMaximum": 3}),
                json!([0, 1, 2.9, 3, "x"]),
                vec![0, 3],
            ),
            (
                json!({"maximum": 3, "exclusiveMinimum": 1}),
                json!([1, 1.1, 3, 4]),
                vec![0, 3],
            ),
            (json!({"multipleOf": 0.5}), json!([1, 1.5, 1.2]), vec![2]),
            (
                json!({"minLength": 2, "maxLength": 3}),
                json!(["ä", "äö", "äöü", "äöüß"]),
                vec![0, 3],
            ),
            (json!({"pattern": "^a"}), json!(["ab", "ba", 1]), vec![1]),
            (
                json!({"minItems": 1, "maxItems": 2}),
                json!([[], [1], [1, 2], [1, 2, 3]]),
                vec![0, 3],
            ),
            (
                json!({"uniqueItems": true}),
                json!([[1, 2], [1, 1.0]]),
                vec![1],
            ),
            (
                json!({"items": {"type": "string"}}),
                json!([["a"], ["a", 1], "x"]),
                vec![1],
            ),
            (
                json!({"minProperties": 1, "maxProperties": 1}),
                json!([{}, {"a": 1}, {"a": 1, "b": 1}]),
                vec![0, 2],
            ),
            (
                json!({"required": ["a"]}),
                json!([{"a": 1}, {}, 1]),
                vec![1],
            ),
            (
                json!({"properties": {"a": {"type": "string"}}, "patternProperties": {"^x": false}, "additionalProperties": {"type": "number"}}),
                json!([{"a": "b", "c": 1}, {"a": 1}, {"xa": 1}, {"c": "d"}]),
                vec![1, 2, 3],
            ),
            (
                json!({"additionalProperties": false, "properties": {"a": true}}),
                json!([{"a": 1}, {"b": 1}]),
                vec![1],
            ),
            (
                json!({"propertyNames": {"pattern": "^a"}}),
                json!([{"ab": 1}, {"b": 1}]),
                vec![1],
            ),
            (
                json!({"allOf": [{"minimum": 1}, {"maximum": 2}]}),
                json!([0, 1, 3]),
                vec![0, 2],
            ),
            (
                json!({"anyOf": [{"type": "string"}, {"minimum": 1}]}),
                json!(["a", 1, 0]),
                vec![2],
            ),
            (
                json!({"oneOf": [{"type": "integer"}, {"minimum": 2}]}),
                json!([1, 2.5, 2, 0.5]),
                vec![2, 3],
            ),
            (json!({"not": {"type": "string"}}), json!(["a", 1]), vec![0]),
            (
                json!({"if": {"required": ["a"]}, "then": {"required": ["b"]}, "else": {"required": ["c"]}}),
                json!([{"a": 1, "b": 1}, {"a": 1}, {"c": 1}, {}]),
                vec![1, 3],
            ),
            (
                json!({"$ref": "#/$defs/tree", "$defs": {"tree": {"items": {"$ref": "#/$defs/tree"}, "type": "array"}}}),
                json!([[], [[[]]], [[1]]]),
                vec![2],
            ),
            // It refers to itself without end.
            (json!({"$ref": "#"}), json!([1]), vec![]),
        ] {
            let values = values.as_array().unwrap();
            assert_eq!(rejects(schema.clone(), values), expected, "{schema}");
        }
    }

    #[test]
    fn schemas_that_would_accept_too_much_are_errors() {
        for (schema, expected) in [
            (json!([]), "a schema must be a mapping, not []"),
            (
                json!({"type": "strin"}),
                "invalid value of `type`: \"strin\"",
            ),
            (
                json!({"properties": {"a": {"requird": []}}}),
                "the keyword `requird` is not supported",
            ),
            (
                json!({"dependentRequired": {}}),
                "the keyword `dependentRequired` is not supported",
            ),
            (
                json!({"items": [{}]}),
                "a schema must be a mapping, not [{}]",
            ),
            (json!({"minimum": "1"}), "invalid value of `minimum`: \"1\""),
            (json!({"pattern": "("}), "invalid value of `pattern`: \"(\""),
            (
                json!({"required": "a"}),
                "invalid value of `required`: \"a\"",
            ),
            (
                json!({"$ref": "#/$defs/a"}),
                "`#/$defs/a` is not in the schema",
            ),
            (
                json!({"$ref": "file:///etc/passwd"}),
                "`file:///etc/passwd` is not in the schema",
            ),
        ] {
            let error = SettingsSchema::new(&schema).err();
            assert_eq!(error.as_deref(), Some(expected));
        }
    }

    #[test]
    fn references_are_replaced_by_copies() {
        let schema = json!({
            "properties": {"a": {"$ref": "#/$defs/a"}},
            "$defs": {"a": {"type": "integer"}},
        });
        let inlined = SettingsSchema::new(&schema).unwrap().inlined();
        assert_eq!(inlined, json!({"properties": {"a": {"type": "integer"}}}));
        let endless = json!({"items": {"$ref": "#"}});
        let inlined = SettingsSchema::new(&endless).unwrap().inlined();
        assert!(inlined.to_string().len() < 200, "{inlined}");
    }
}
