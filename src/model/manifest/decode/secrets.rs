//! Decodes `docker.secrets`, `scm.secrets` and `docker.ssh` of a service.

use std::collections::BTreeMap;

use super::super::error::SourceProblem;
use super::super::node::NodeKind;
use super::super::service::SecretSource;
use super::super::span::Span;
use super::super::template::{Template, is_variable};
use super::context::{DecodeContext, DecodedValue};
use crate::base::suggest;

/// Decodes secrets, `ID: {env: NAME}` or `ID: {file: PATH}`, and records their positions by path, such as
/// `docker.secrets.npm`.
pub(super) fn secrets(
    cx: &mut DecodeContext,
    value: &DecodedValue,
    spans: &mut BTreeMap<String, Span>,
) -> BTreeMap<String, SecretSource> {
    let mut secrets = BTreeMap::new();
    for (entry, value) in value.entries(cx) {
        let id = entry.key.as_str();
        spans.insert(value.path.clone(), value.span());
        let is_allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if !id.starts_with(|c: char| c.is_ascii_alphanumeric()) || !id.chars().all(is_allowed) {
            let message = format!("invalid secret id `{id}`");
            cx.report(
                SourceProblem::at(entry.key_span.first_line(cx.text), message)
                    .help("use letters, digits, `.`, `_` and `-`, starting with a letter or digit"),
            );
        }
        if let Some(source) = source(cx, &value) {
            secrets.insert(entry.key.clone(), source);
        }
    }
    secrets
}

/// Decodes the secrets of a plugin: a list of IDs in `docker.secrets`, or secrets of its own. `known` is
/// `docker.secrets`; `None` if it is not complete yet.
pub(super) fn plugin_secrets(
    cx: &mut DecodeContext,
    value: &DecodedValue,
    known: Option<&BTreeMap<String, SecretSource>>,
    spans: &mut BTreeMap<String, Span>,
) -> BTreeMap<String, SecretSource> {
    if let NodeKind::Mapping(_) = value.node.kind {
        return secrets(cx, value, spans);
    }
    let mut named = BTreeMap::new();
    for item in value.items(cx) {
        let Some(id) = item.text(cx) else { continue };
        let Some(known) = known else { continue };
        match known.get(id.text) {
            Some(source) => {
                spans.insert(format!("{}.{}", value.path, id.text), item.span());
                named.insert(id.text.to_owned(), source.clone());
            }
            None => {
                let ids = known.keys().map(String::as_str);
                let hint = suggest::hint(id.text, "known secrets", ids).unwrap_or_else(|| {
                    format!(
                        "write `secrets: {{{}: {{env: NAME}}}}` for a secret of its own",
                        id.text
                    )
                });
                let message = format!("`docker.secrets` has no secret `{}`", id.text);
                let span = id.span.first_line(cx.text);
                cx.report(SourceProblem::at(span, message).help(hint));
            }
        }
    }
    named
}

fn source(cx: &mut DecodeContext, value: &DecodedValue) -> Option<SecretSource> {
    // A value in the manifest would not be secret.
    if let NodeKind::Scalar { .. } = value.node.kind {
        let message = format!(
            "{} must specify where to find the secret, not the secret itself",
            value.subject()
        );
        cx.report(
            SourceProblem::at(value.span().first_line(cx.text), message).help(
                "write `{env: NAME}` for an environment variable, or `{file: PATH}` for a file",
            ),
        );
        return None;
    }
    let mut fields = value.fields(cx)?;
    let env = fields.take("env").map(|value| {
        let name = value.parse_with(cx, variable)?;
        let span = value.span().first_line(cx.text);
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
            let message = if both.is_some() {
                format!("{} must have `env` or `file`, not both", value.subject())
            } else {
                format!("{} must have `env` or `file`", value.subject())
            };
            cx.report(SourceProblem::at(value.span().first_line(cx.text), message));
            None
        }
    }
}

fn variable(text: &str) -> Result<String, String> {
    if is_variable(text) {
        Ok(text.to_owned())
    } else {
        Err(format!("invalid environment variable name `{text}`"))
    }
}

fn file(text: &str) -> Result<String, String> {
    if text.chars().any(char::is_control) {
        return Err("the path of a secret must not contain control characters".to_owned());
    }
    if text.split('/').any(|part| part == "..") {
        return Err(format!("`{text}` must not contain `..`"));
    }
    if text == "~" || text.ends_with('/') {
        return Err(format!("`{text}` is a folder, but a secret must be a file"));
    }
    if text.starts_with('~') && !text.starts_with("~/") {
        return Err(format!(
            "`{text}` is in the home folder of another user; only `~/` is supported"
        ));
    }
    Ok(text.to_owned())
}

/// Decodes whether the ssh agent is forwarded: `true`, `false`, or `[default]` as in Compose files.
pub(super) fn ssh(cx: &mut DecodeContext, value: &DecodedValue) -> Option<bool> {
    let NodeKind::Sequence(_) = value.node.kind else {
        return value.boolean(cx);
    };
    let mut forwards = false;
    for item in value.items(cx) {
        let known = |text: &str| match text {
            "default" => Ok(true),
            _ => Err(format!(
                "unknown ssh agent `{text}`: only `default` is supported"
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
    fn secret_files() {
        for valid in ["/run/secrets/x", "~/.netrc", "secrets/npm", ".env"] {
            assert_eq!(file(valid).as_deref(), Ok(valid));
        }
        for invalid in ["../x", "a/../../x", "~", "~root/.netrc", "x/", "a\nb"] {
            assert!(file(invalid).is_err(), "{invalid}");
        }
    }
}
