//! Decodes `scm` of a service.

use std::collections::BTreeMap;

use super::super::source::ScmPlugin;
use super::super::span::Span;
use super::builder::{builder_image, network};
use super::context::{DecodeContext, DecodedValue};
use super::secrets::secrets;
use super::setting::settings;
use crate::model::source::GitReference;

const NO_PLACEHOLDERS: &str =
    "settings are passed to the plugin as written; for credentials, use `secrets`";

/// The valid parts of `scm`.
pub(super) struct DecodedScm {
    /// Whether `plugin` is set, even if it is invalid.
    pub has_plugin: bool,
    /// `None` if `plugin` is missing or invalid.
    pub plugin: Option<ScmPlugin>,
    /// The positions of the secrets.
    pub input_spans: BTreeMap<String, Span>,
}

pub(super) fn scm(cx: &mut DecodeContext, value: &DecodedValue) -> Option<DecodedScm> {
    let mut fields = value.fields(cx)?;
    let image = fields.take("plugin");
    let has_plugin = image.is_some();
    let span = image.as_ref().map_or(value.span(), DecodedValue::span);
    let image = image.and_then(|value| value.parse_with(cx, builder_image));
    let with = fields
        .take("with")
        .map(|value| settings(cx, &value, NO_PLACEHOLDERS))
        .unwrap_or_default();
    let reference = fields.take("reference").and_then(|value| value.parse(cx));
    let network = fields
        .take("network")
        .and_then(|value| value.parse_with(cx, network));
    let mut input_spans = BTreeMap::new();
    let secrets = fields
        .take("secrets")
        .map(|value| secrets(cx, &value, &mut input_spans))
        .unwrap_or_default();
    for key in ["path", "include", "submodules", "remote"] {
        fields.reject(
            cx,
            key,
            "is only supported for git",
            "settings of the plugin belong to `scm.with`; its repository is built as a whole",
        );
    }
    fields.finish(cx);
    Some(DecodedScm {
        has_plugin,
        plugin: image.map(|image| ScmPlugin {
            image,
            with,
            reference: reference.unwrap_or(GitReference::DefaultBranch),
            network,
            secrets,
            span,
        }),
        input_spans,
    })
}
