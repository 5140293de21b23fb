//! Decodes `with`, the settings of a plugin, to JSON.

use serde_json::{Map, Number, Value};

use super::super::error::SourceProblem;
use super::super::node::{Node, NodeKind};
use super::context::{DecodeContext, DecodedValue};

/// Decodes the settings of a plugin; the keys of every mapping are sorted.
///
/// As in JSON, an unquoted `true`, `false` or number is not a string.
pub(super) fn settings(cx: &mut DecodeContext, value: &DecodedValue) -> Option<Map<String, Value>> {
    let mut settings: Vec<(String, Value)> = Vec::new();
    if !matches!(value.node.kind, NodeKind::Mapping(_)) {
        // Reports what it is instead.
        value.entries(cx);
        return None;
    }
    for (entry, value) in value.entries(cx) {
        if let Some(text) = placeholder(value.node) {
            let message = format!("{} does not support `${{{{ … }}}}`", value.subject());
            cx.report(
                SourceProblem::at(value.span().first_line(cx.text), message)
                    .label(format!("in `{text}`"))
                    .help("settings are passed to the plugin as written; for credentials, use `secrets`"),
            );
            continue;
        }
        settings.push((entry.key.clone(), json(value.node)));
    }
    settings.sort_by(|(one, _), (other, _)| one.cmp(other));
    Some(settings.into_iter().collect())
}

/// Returns a text with a placeholder.
fn placeholder(node: &Node) -> Option<&str> {
    match &node.kind {
        NodeKind::Null => None,
        NodeKind::Scalar { text, .. } => text.contains("${{").then_some(text),
        NodeKind::Sequence(items) => items.iter().find_map(placeholder),
        NodeKind::Mapping(entries) => entries.iter().find_map(|it| placeholder(&it.value)),
    }
}

fn json(node: &Node) -> Value {
    match &node.kind {
        NodeKind::Null => Value::Null,
        NodeKind::Scalar { text, plain, .. } => match text.as_str() {
            "true" | "True" | "TRUE" if *plain => Value::Bool(true),
            "false" | "False" | "FALSE" if *plain => Value::Bool(false),
            text if *plain => number(text).map_or_else(|| Value::from(text), Value::Number),
            text => Value::from(text),
        },
        NodeKind::Sequence(items) => items.iter().map(json).collect(),
        NodeKind::Mapping(entries) => {
            let mut entries: Vec<_> = entries.iter().collect();
            entries.sort_by(|one, other| one.key.cmp(&other.key));
            let entries = entries.into_iter();
            let entries: Map<String, Value> = entries
                .map(|entry| (entry.key.clone(), json(&entry.value)))
                .collect();
            Value::Object(entries)
        }
    }
}

/// Parses a number of JSON. Others, such as `1_000` or `0x1f`, stay text.
fn number(text: &str) -> Option<Number> {
    serde_json::from_str(text).ok()
}
