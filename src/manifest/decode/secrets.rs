//! The keys `docker.secrets` and `docker.ssh` of a service.

use std::collections::BTreeMap;

use super::super::error::Problem;
use super::super::node::Kind;
use super::super::service::SecretSource;
use super::super::span::Span;
use super::super::template::{Template, is_variable};
use super::context::{Context, Value};

/// Decodes the secrets of an image's build: `ID: {env: NAME}` or `ID: {file: PATH}`, and notes their places.
pub(super) fn secrets(
    cx: &mut Context,
    value: &Value,
    places: &mut BTreeMap<String, Span>,
) -> BTreeMap<String, SecretSource> {
    let mut secrets = BTreeMap::new();
    for (entry, value) in value.entries(cx) {
        let id = entry.key.as_str();
        places.insert(format!("docker.secrets.{id}"), value.place());
        let is_allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if !id.starts_with(|c: char| c.is_ascii_alphanumeric()) || !id.chars().all(is_allowed) {
            let message = format!("`{id}` cannot name a secret");
            cx.report(
                Problem::at(entry.key_span.first_line(cx.text), message).help(
                    "letters, digits, `.`, `_` and `-` are allowed, and a letter or digit first",
                ),
            );
        }
        if let Some(source) = source(cx, &value) {
            secrets.insert(entry.key.clone(), source);
        }
    }
    secrets
}

fn source(cx: &mut Context, value: &Value) -> Option<SecretSource> {
    // A secret that stands in the manifest is none.
    if let Kind::Scalar { .. } = value.node.kind {
        let message = format!(
            "{} says where the secret comes from, not what it is",
            value.subject()
        );
        cx.report(
            Problem::at(value.place().first_line(cx.text), message)
                .help("write `{env: NAME}` for a variable, or `{file: PATH}` for a file"),
        );
        return None;
    }
    let mut fields = value.fields(cx)?;
    let env = fields.take("env").map(|value| {
        let name = value.parse_with(cx, variable)?;
        let span = value.place().first_line(cx.text);
        let value = Template::of_variable(&name, span);
        Some(SecretSource::Environment { name, value })
    });
    let file = fields
        .take("file")
        .map(|value| value.parse_with(cx, file).map(SecretSource::File));
    fields.finish(cx);
    match (env, file) {
        (Some(source), None) | (None, Some(source)) => source,
        (both, _) => {
            let found = if both.is_some() { "both" } else { "neither" };
            let message = format!("{} takes `env` or `file`, and has {found}", value.subject());
            cx.report(Problem::at(value.place().first_line(cx.text), message));
            None
        }
    }
}

fn variable(text: &str) -> Result<String, String> {
    match is_variable(text) {
        true => Ok(text.to_owned()),
        false => Err(format!(
            "`{text}` cannot name a variable of the environment"
        )),
    }
}

fn file(text: &str) -> Result<String, String> {
    if text.chars().any(char::is_control) {
        return Err("the path of a secret has a control character".to_owned());
    }
    if text.split('/').any(|part| part == "..") {
        return Err(format!("`{text}` contains `..`"));
    }
    if text == "~" || text.ends_with('/') {
        return Err(format!("`{text}` is a folder; a secret is a file"));
    }
    if text.starts_with('~') && !text.starts_with("~/") {
        return Err(format!(
            "`{text}` names the home folder of somebody else; only `~/` is known"
        ));
    }
    Ok(text.to_owned())
}

/// Decodes whether the ssh agent is forwarded: `true`, `false`, or `[default]` as other tools write it.
pub(super) fn ssh(cx: &mut Context, value: &Value) -> Option<bool> {
    let Kind::Sequence(_) = value.node.kind else {
        return value.boolean(cx);
    };
    let mut forwards = false;
    for item in value.items(cx) {
        let known = |text: &str| match text {
            "default" => Ok(true),
            _ => Err(format!(
                "`{text}` is no agent that xp forwards; `default` is"
            )),
        };
        forwards |= item.parse_with(cx, known)?;
    }
    Some(forwards)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_named_by_paths() {
        for right in ["/run/secrets/x", "~/.netrc", "secrets/npm", ".env"] {
            assert_eq!(file(right).as_deref(), Ok(right));
        }
        for wrong in ["../x", "a/../../x", "~", "~root/.netrc", "x/", "a\nb"] {
            assert!(file(wrong).is_err(), "{wrong}");
        }
    }
}
