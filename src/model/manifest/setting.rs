//! The settings of a plugin: JSON with the position of each value.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Number, Value, json};

use super::span::Span;

/// The start of the names of variables with settings.
const VARIABLE: &str = "XP_WITH_";

/// The settings of a plugin.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Settings {
    /// The settings, in the manifest's order.
    pub entries: Vec<SettingEntry>,
    /// The position of the mapping.
    #[serde(skip)]
    pub(crate) span: Span,
}

/// A setting with its name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SettingEntry {
    pub name: String,
    /// The 1-based line of the manifest.
    pub line: usize,
    /// The position of the name.
    #[serde(skip)]
    pub(crate) name_span: Span,
    pub value: Setting,
}

/// A value with its position.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Setting {
    pub value: SettingValue,
    #[serde(skip)]
    pub(crate) span: Span,
}

/// The value of a setting.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SettingValue {
    Boolean(bool),
    /// A number in the syntax of JSON, as written: `1.10` stays `1.10`.
    Number(String),
    Text(String),
    List(Vec<Setting>),
    Map(Vec<SettingEntry>),
}

impl Settings {
    /// Returns whether there are no settings.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns the settings as a JSON object, in the manifest's order.
    pub fn to_json(&self) -> String {
        object(&self.entries)
    }

    /// Returns the settings with the names of every mapping sorted, so that equal settings have equal texts.
    pub fn to_sorted_map(&self) -> Map<String, Value> {
        let mut value = self.to_value();
        value.sort_all_objects();
        match value {
            Value::Object(map) => map,
            _ => Map::new(),
        }
    }

    /// Returns the settings for validation.
    pub fn to_value(&self) -> Value {
        map_value(&self.entries)
    }

    /// Returns a variable for each setting: `XP_WITH_` and its name in upper case.
    pub fn variables(&self) -> impl Iterator<Item = (String, String)> {
        let entries = self.entries.iter();
        entries.map(|entry| (variable(&entry.name), entry.value.to_variable()))
    }

    /// Returns a value as text, given as the parts of a JSON pointer.
    pub fn text_of(&self, path: &[String]) -> Option<String> {
        let (first, rest) = path.split_first()?;
        let found = entry(&self.entries, first)?.value.find(rest)?;
        Some(found.to_variable())
    }

    /// Returns the position of a value, given as the parts of a JSON pointer; of its name if `of_name`.
    pub(crate) fn span_of(&self, path: &[String], of_name: bool) -> Span {
        let Some((first, rest)) = path.split_first() else {
            return self.span;
        };
        match entry(&self.entries, first) {
            Some(found) if rest.is_empty() && of_name => found.name_span,
            Some(found) => found.value.span_of(rest, of_name),
            None => self.span,
        }
    }
}

/// Returns the name of the variable for a setting.
pub fn variable(name: &str) -> String {
    format!("{VARIABLE}{}", name.to_uppercase().replace('-', "_"))
}

impl Setting {
    /// Returns the value as JSON with sorted names, so that equal values have equal texts.
    pub fn canonical(&self) -> String {
        match &self.value {
            SettingValue::Map(entries) => {
                let mut sorted: Vec<&SettingEntry> = entries.iter().collect();
                sorted.sort_by(|a, b| a.name.cmp(&b.name));
                let members = sorted.into_iter();
                let members = members.map(|it| member(&it.name, &it.value.canonical()));
                format!("{{{}}}", members.collect::<Vec<_>>().join(","))
            }
            SettingValue::List(items) => {
                let items: Vec<String> = items.iter().map(Self::canonical).collect();
                format!("[{}]", items.join(","))
            }
            _ => self.to_json(),
        }
    }

    /// Returns the value as JSON.
    fn to_json(&self) -> String {
        match &self.value {
            SettingValue::Boolean(value) => value.to_string(),
            SettingValue::Number(text) => text.clone(),
            SettingValue::Text(text) => json!(text).to_string(),
            SettingValue::List(items) => {
                let items: Vec<String> = items.iter().map(Self::to_json).collect();
                format!("[{}]", items.join(","))
            }
            SettingValue::Map(entries) => object(entries),
        }
    }

    /// Returns the value for a variable: text as it is, lists and mappings as JSON.
    fn to_variable(&self) -> String {
        match &self.value {
            SettingValue::Text(text) => text.clone(),
            _ => self.to_json(),
        }
    }

    fn to_value(&self) -> Value {
        match &self.value {
            SettingValue::Boolean(value) => json!(value),
            SettingValue::Number(text) => {
                let number: Option<Number> = serde_json::from_str(text).ok();
                number.map_or(Value::Null, Value::Number)
            }
            SettingValue::Text(text) => json!(text),
            SettingValue::List(items) => items.iter().map(Self::to_value).collect(),
            SettingValue::Map(entries) => map_value(entries),
        }
    }

    fn find(&self, path: &[String]) -> Option<&Self> {
        let Some((first, rest)) = path.split_first() else {
            return Some(self);
        };
        match &self.value {
            SettingValue::Map(entries) => entry(entries, first)?.value.find(rest),
            SettingValue::List(items) => {
                let index: usize = first.parse().ok()?;
                items.get(index)?.find(rest)
            }
            _ => None,
        }
    }

    fn span_of(&self, path: &[String], of_name: bool) -> Span {
        let Some((first, rest)) = path.split_first() else {
            return self.span;
        };
        let found = match &self.value {
            SettingValue::Map(entries) => entry(entries, first).map(|found| {
                if rest.is_empty() && of_name {
                    return found.name_span;
                }
                found.value.span_of(rest, of_name)
            }),
            SettingValue::List(items) => {
                let item = first.parse().ok().and_then(|index: usize| items.get(index));
                item.map(|item| item.span_of(rest, of_name))
            }
            _ => None,
        };
        found.unwrap_or(self.span)
    }
}

fn entry<'e>(entries: &'e [SettingEntry], name: &str) -> Option<&'e SettingEntry> {
    entries.iter().find(|entry| entry.name == name)
}

fn object(entries: &[SettingEntry]) -> String {
    let members = entries.iter();
    let members = members.map(|it| member(&it.name, &it.value.to_json()));
    format!("{{{}}}", members.collect::<Vec<_>>().join(","))
}

fn member(name: &str, value: &str) -> String {
    format!("{}:{value}", json!(name))
}

fn map_value(entries: &[SettingEntry]) -> Value {
    let members = entries.iter();
    let members = members.map(|entry| (entry.name.clone(), entry.value.to_value()));
    Value::Object(members.collect::<Map<_, _>>())
}
