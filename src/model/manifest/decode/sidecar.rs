//! Decodes `sidecars` and `verify` of a service.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::super::error::SourceProblem;
use super::super::name::{ServiceName, SidecarName};
use super::super::node::NodeKind;
use super::super::sidecar::{
    DEFAULT_READY_TIMEOUT, ProbeCommand, ScriptPhase, Sidecar, SidecarImage, SidecarSettings,
};
use super::super::span::Span;
use super::builder::builder_image;
use super::context::{DecodeContext, DecodedValue, Fields};
use super::docker::args;
use super::quantity;
use crate::base::suggest;

/// The network modes in which a container has no host names of other containers.
const UNCONNECTED: [&str; 2] = ["host", "none"];

/// The sidecars of a service, with the positions of the services that they use.
#[derive(Default)]
pub(super) struct DecodedSidecars {
    pub sidecars: BTreeMap<SidecarName, Sidecar>,
    pub needs: BTreeMap<ServiceName, Span>,
}

/// Decodes `sidecars`; `service` is the name of the service, which its own container has in `verify`.
pub(super) fn sidecars(
    cx: &mut DecodeContext,
    service: Option<&ServiceName>,
    value: &DecodedValue,
) -> DecodedSidecars {
    let mut decoded = DecodedSidecars::default();
    for (entry, value) in value.entries(cx) {
        let name = match entry.key.parse::<SidecarName>() {
            Ok(name) => Some(name),
            Err(error) => {
                let span = entry.key_span;
                cx.report(SourceProblem::at(span, error.to_string()));
                None
            }
        };
        let is_own = |name: &SidecarName| {
            service.is_some_and(|service| service.as_str().eq_ignore_ascii_case(name.as_str()))
        };
        if let Some(name) = name.as_ref().filter(|it| is_own(it)) {
            cx.report(
                SourceProblem::at(
                    entry.key_span,
                    format!("sidecar `{name}` has the name of its service"),
                )
                .help("in `verify`, this is the host name of the service's own container"),
            );
        }
        let sidecar = sidecar(
            cx,
            &entry.key,
            &value,
            service.is_some(),
            &mut decoded.needs,
        );
        if let (Some(name), Some(sidecar)) = (name, sidecar) {
            decoded.sidecars.insert(name, sidecar);
        }
    }
    decoded
}

/// Decodes `verify`: how the container of the service's own image is started.
pub(super) fn verify(cx: &mut DecodeContext, value: &DecodedValue) -> SidecarSettings {
    let Some(mut fields) = value.fields(cx) else {
        return SidecarSettings::default();
    };
    let settings = settings(cx, &mut fields);
    fields.finish(cx);
    settings
}

/// Reports a network of the builder in which it cannot reach the sidecars.
pub(super) fn check_network(
    cx: &mut DecodeContext,
    network: Option<&str>,
    network_span: Option<Span>,
    sidecars: Span,
) {
    let (Some(network), Some(span)) = (network, network_span) else {
        return;
    };
    if !UNCONNECTED.contains(&network) && !network.starts_with("container:") {
        return;
    }
    let message = format!(
        "with `network: {network}`, the scripts cannot reach other containers by their names"
    );
    cx.report(
        SourceProblem::at(span.first_line(cx.text), message)
            .related(sidecars, "these containers")
            .help(
                "remove `dockerBuilder.network`, or set it to the name of a network: the builder is then in both",
            ),
    );
}

fn sidecar(
    cx: &mut DecodeContext,
    key: &str,
    value: &DecodedValue,
    is_complete: bool,
    needs: &mut BTreeMap<ServiceName, Span>,
) -> Option<Sidecar> {
    let mut fields = value.fields(cx)?;
    let image_value = fields.take("image");
    if image_value.is_none() && is_complete {
        cx.report(
            SourceProblem::at(value.key_span, format!("sidecar `{key}` has no `image`")).help(
                "add its image: `image: postgres:16`, or `image: ${{ services.NAME.image }}`",
            ),
        );
    }
    let image = image_value.and_then(|value| image(cx, &value, needs));
    let settings = settings(cx, &mut fields);
    let phases = fields.take("phases").map(|value| phases(cx, &value));
    fields.finish(cx);
    for template in settings.env.values() {
        for service in template.services() {
            needs
                .entry(service.clone())
                .or_insert(template.span.first_line(cx.text));
        }
    }
    Some(Sidecar {
        image: image?,
        phases: phases.unwrap_or_else(|| [ScriptPhase::Test, ScriptPhase::Verify].into()),
        settings,
    })
}

fn settings(cx: &mut DecodeContext, fields: &mut Fields) -> SidecarSettings {
    let env = fields
        .take("env")
        .map(|value| args(cx, &value, "environment variable"));
    let command = fields.take("command").and_then(|value| words(cx, &value));
    let ready = fields.take("ready").and_then(|value| probe(cx, &value));
    let timeout: Option<Duration> = fields
        .take("timeout")
        .and_then(|value| value.parse_with(cx, quantity::duration));
    SidecarSettings {
        env: env.unwrap_or_default(),
        command,
        ready,
        timeout: timeout.unwrap_or(DEFAULT_READY_TIMEOUT),
    }
}

/// Decodes an image: that of another service, a builder, or any other.
fn image(
    cx: &mut DecodeContext,
    value: &DecodedValue,
    needs: &mut BTreeMap<ServiceName, Span>,
) -> Option<SidecarImage> {
    let text = value.raw_text(cx)?;
    if !text.text.contains("${{") {
        let image = value.parse_with(cx, builder_image)?;
        return Some(SidecarImage::Image(image));
    }
    let template = value.template(cx)?;
    let span = text.span.first_line(cx.text);
    let Some(service) = template.image_of().cloned() else {
        cx.report(
            SourceProblem::at(
                span,
                format!("invalid sidecar image `{template}`: not the image of a service"),
            )
            .help("write only `${{ services.NAME.image }}`, or an image such as `postgres:16`"),
        );
        return None;
    };
    needs.entry(service.clone()).or_insert(span);
    Some(SidecarImage::Service { service, template })
}

/// Decodes a program with its arguments.
fn words(cx: &mut DecodeContext, value: &DecodedValue) -> Option<Vec<String>> {
    let mut words = Vec::new();
    for item in value.items(cx) {
        let word = item.raw_text(cx)?;
        if word.text.contains("${{") {
            // Reports it.
            item.text(cx);
            return None;
        }
        words.push(word.text.to_owned());
    }
    if words.is_empty() && matches!(value.node.kind, NodeKind::Sequence(_)) {
        cx.report(SourceProblem::at(
            value.span(),
            format!("`{}` must not be empty", value.path),
        ));
    }
    (!words.is_empty()).then_some(words)
}

fn probe(cx: &mut DecodeContext, value: &DecodedValue) -> Option<ProbeCommand> {
    if matches!(value.node.kind, NodeKind::Sequence(_)) {
        return words(cx, value).map(ProbeCommand::Program);
    }
    let line = value.text(cx)?;
    Some(ProbeCommand::Shell(line.text.to_owned()))
}

fn phases(cx: &mut DecodeContext, value: &DecodedValue) -> BTreeSet<ScriptPhase> {
    let mut phases = BTreeSet::new();
    let items = value.items(cx);
    for item in &items {
        let Some(text) = item.text(cx) else { continue };
        let mut known = ScriptPhase::ALL.into_iter();
        match known.find(|phase| phase.as_str() == text.text) {
            Some(phase) => _ = phases.insert(phase),
            None => {
                let names = ScriptPhase::ALL.map(ScriptPhase::as_str);
                let hint = suggest::hint(text.text, "known phases", names);
                let span = text.span.first_line(cx.text);
                cx.report(
                    SourceProblem::at(span, format!("unknown phase `{}`", text.text))
                        .maybe_help(hint),
                );
            }
        }
    }
    if items.is_empty() && matches!(value.node.kind, NodeKind::Sequence(_)) {
        let message = format!("`{}` must not be empty", value.path);
        cx.report(SourceProblem::at(value.span(), message).help("remove the sidecar instead"));
    }
    phases
}
