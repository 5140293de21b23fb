//! The label that describes a plugin.

use serde_json::Value;
use thiserror::Error;

use crate::base::suggest;
use crate::model::image::Labels;

/// The label with the description: `{"version":1,"kind":"step","with":<JSON Schema>}`.
pub const LABEL_PLUGIN: &str = "x-platform.plugin";

/// The version of the contract.
const VERSION: u64 = 1;

/// What a plugin says of itself.
#[derive(Debug, Clone, PartialEq)]
pub struct PluginDescription {
    pub kind: PluginKind,
    /// The JSON Schema of its settings; `None` if they are not validated.
    pub with: Option<Value>,
}

/// What a plugin is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PluginKind {
    /// A step of a phase.
    Step,
    /// Sources of services.
    Scm,
}

/// A label that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidLabel {
    #[error("invalid label `{LABEL_PLUGIN}`: {0}")]
    Malformed(String),
    #[error("the label `{LABEL_PLUGIN}` has version {0}, but this xp supports {VERSION}")]
    NewerVersion(u64),
}

impl PluginKind {
    /// Returns the name in the label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Step => "step",
            Self::Scm => "scm",
        }
    }
}

impl PluginDescription {
    /// Reads the description of an image; `None` if it has none.
    ///
    /// # Errors
    ///
    /// The label is malformed, or of a newer version.
    pub fn of(labels: &Labels) -> Result<Option<Self>, InvalidLabel> {
        labels
            .get(LABEL_PLUGIN)
            .map(|it| Self::parse(it))
            .transpose()
    }

    /// Parses the label. Unknown keys are ignored.
    ///
    /// # Errors
    ///
    /// It is malformed, or of a newer version.
    pub fn parse(text: &str) -> Result<Self, InvalidLabel> {
        let malformed = InvalidLabel::Malformed;
        let value: Value =
            serde_json::from_str(text).map_err(|error| malformed(format!("not JSON: {error}")))?;
        let Value::Object(mut members) = value else {
            return Err(malformed("must be a JSON object".to_owned()));
        };
        match members.get("version").map(Value::as_u64) {
            Some(Some(VERSION)) => {}
            Some(Some(version)) if version > VERSION => {
                return Err(InvalidLabel::NewerVersion(version));
            }
            Some(_) => return Err(malformed("invalid `version`".to_owned())),
            None => return Err(malformed("missing `version`".to_owned())),
        }
        let kinds = [PluginKind::Step, PluginKind::Scm];
        let kind = match members.get("kind") {
            Some(Value::String(name)) => {
                let mut known = kinds.into_iter();
                known.find(|it| it.as_str() == name).ok_or_else(|| {
                    let names = kinds.map(PluginKind::as_str);
                    let hint = suggest::hint(name, "known kinds", names).unwrap_or_default();
                    malformed(format!("unknown kind `{}`; {hint}", name.escape_debug()))
                })?
            }
            Some(_) => return Err(malformed("invalid `kind`".to_owned())),
            None => return Err(malformed("missing `kind`".to_owned())),
        };
        match members.remove("with") {
            Some(with @ (Value::Object(_) | Value::Bool(_))) => Ok(Self {
                kind,
                with: Some(with),
            }),
            None => Ok(Self { kind, with: None }),
            Some(_) => Err(malformed("`with` must be a JSON Schema".to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn error(text: &str) -> String {
        PluginDescription::parse(text).unwrap_err().to_string()
    }

    #[test]
    fn labels_describe_plugins() {
        let parsed = |text: &str| PluginDescription::parse(text).unwrap();
        let plain = parsed(r#"{"version":1,"kind":"step","later":true}"#);
        assert_eq!((plain.kind, plain.with), (PluginKind::Step, None));
        let scm = parsed(r#"{"version":1,"kind":"scm","with":{"type":"object"}}"#);
        assert_eq!(scm.kind, PluginKind::Scm);
        assert_eq!(scm.with, Some(json!({"type": "object"})));
        assert_eq!(PluginDescription::of(&Labels::new()), Ok(None));
    }

    #[test]
    fn invalid_labels_are_explained() {
        for (label, expected) in [
            (
                "{",
                "invalid label `x-platform.plugin`: not JSON: EOF while parsing",
            ),
            (
                "[]",
                "invalid label `x-platform.plugin`: must be a JSON object",
            ),
            ("{}", "invalid label `x-platform.plugin`: missing `version`"),
            (
                r#"{"version":"1"}"#,
                "invalid label `x-platform.plugin`: invalid `version`",
            ),
            (
                r#"{"version":2}"#,
                "the label `x-platform.plugin` has version 2, but this xp supports 1",
            ),
            (
                r#"{"version":1}"#,
                "invalid label `x-platform.plugin`: missing `kind`",
            ),
            (
                r#"{"version":1,"kind":"stop"}"#,
                "invalid label `x-platform.plugin`: unknown kind `stop`; did you mean `step`?",
            ),
            (
                r#"{"version":1,"kind":"step","with":[]}"#,
                "invalid label `x-platform.plugin`: `with` must be a JSON Schema",
            ),
        ] {
            let error = error(label);
            assert!(error.starts_with(expected), "{error}");
        }
    }
}
