//! Decodes the settings of a plugin.

use std::collections::BTreeMap;

use serde_json::Number;

use super::super::error::SourceProblem;
use super::super::node::NodeKind;
use super::super::setting::{Setting, SettingEntry, SettingValue, Settings, variable};
use super::super::span::Span;
use super::context::{DecodeContext, DecodedValue};

/// Decodes `with` of a plugin. Its names become variables, so they are more limited than those of nested mappings.
/// `help` says what to use instead of placeholders.
pub(super) fn settings(cx: &mut DecodeContext, value: &DecodedValue, help: &str) -> Settings {
    let entries = entries(cx, value, help);
    let mut variables: BTreeMap<String, Span> = BTreeMap::new();
    for entry in &entries {
        let (name, span) = (&entry.name, entry.name_span.first_line(cx.text));
        if !is_name(name) {
            let problem = SourceProblem::at(span, format!("invalid setting name `{name}`"));
            cx.report(problem.help("use letters, digits, `_` and `-`, starting with a letter"));
            continue;
        }
        let variable = variable(name);
        match variables.get(&variable) {
            Some(first) => {
                let message = format!("two settings have the variable `{variable}`");
                let problem = SourceProblem::at(span, message).label("used again here");
                cx.report(problem.related(*first, "first used here"));
            }
            None => _ = variables.insert(variable, span),
        }
    }
    Settings {
        entries,
        span: value.key_span,
    }
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "_-".contains(c))
}

fn entries(cx: &mut DecodeContext, value: &DecodedValue, help: &str) -> Vec<SettingEntry> {
    let mut entries = Vec::new();
    for (entry, value) in value.entries(cx) {
        if let Some(setting) = setting(cx, &value, help) {
            entries.push(SettingEntry {
                name: entry.key.clone(),
                line: cx.lines.of(entry.key_span),
                name_span: entry.key_span,
                value: setting,
            });
        }
    }
    entries
}

fn setting(cx: &mut DecodeContext, value: &DecodedValue, help: &str) -> Option<Setting> {
    let found = match &value.node.kind {
        NodeKind::Mapping(_) => SettingValue::Map(entries(cx, value, help)),
        NodeKind::Sequence(_) => {
            let items = value.items(cx);
            let items = items.iter().filter_map(|item| setting(cx, item, help));
            SettingValue::List(items.collect())
        }
        NodeKind::Null | NodeKind::Scalar { .. } => scalar(cx, value, help)?,
    };
    Some(Setting {
        value: found,
        span: value.span(),
    })
}

/// Decodes a string, a number or a boolean: like YAML, but only what JSON writes the same way is a number.
fn scalar(cx: &mut DecodeContext, value: &DecodedValue, help: &str) -> Option<SettingValue> {
    let text = value.raw_text(cx)?;
    if text.text.contains("${{") {
        let message = format!("{} does not support `${{{{ … }}}}`", value.subject());
        cx.report(SourceProblem::at(text.span.first_line(cx.text), message).help(help));
        return None;
    }
    let is_plain = matches!(value.node.kind, NodeKind::Scalar { plain: true, .. });
    Some(match text.text {
        "true" | "True" | "TRUE" if is_plain => SettingValue::Boolean(true),
        "false" | "False" | "FALSE" if is_plain => SettingValue::Boolean(false),
        text if is_plain && serde_json::from_str::<Number>(text).is_ok() => {
            SettingValue::Number(text.to_owned())
        }
        text => SettingValue::Text(text.to_owned()),
    })
}
