//! Decodes `engines`.

use std::collections::BTreeMap;

use super::super::error::SourceProblem;
use super::super::node::NodeKind;
use super::context::{DecodeContext, DecodedValue};
use super::docker::platform;
use crate::model::image::Platform;

/// Decodes the docker contexts of platforms.
pub(super) fn engines(cx: &mut DecodeContext, value: &DecodedValue) -> BTreeMap<Platform, String> {
    let entries = value.entries(cx);
    if entries.is_empty() && matches!(&value.node.kind, NodeKind::Mapping(_)) {
        let message = "`engines` must not be empty";
        cx.report(SourceProblem::at(value.key_span, message));
    }
    let mut engines = BTreeMap::new();
    for (entry, value) in entries {
        let span = entry.key_span.first_line(cx.text);
        let context = value.parse_with(cx, context);
        match platform(&entry.key) {
            Ok(platform) if engines.contains_key(&platform) => {
                let message = format!("`{platform}` has two engines");
                cx.report(SourceProblem::at(span, message));
            }
            Ok(platform) => engines.extend(context.map(|context| (platform, context))),
            Err(message) => cx.report(SourceProblem::at(span, message)),
        }
    }
    engines
}

fn context(text: &str) -> Result<String, String> {
    let is_first = |c: char| c.is_ascii_alphanumeric();
    let is_valid =
        text.starts_with(is_first) && text.chars().all(|c| is_first(c) || "_.+-".contains(c));
    match text {
        "default" => Err(
            "`default` is not the context of another engine: remove it, or name one of `docker context ls`"
                .to_owned(),
        ),
        _ if is_valid => Ok(text.to_owned()),
        _ => Err(format!("invalid docker context name `{text}`")),
    }
}
