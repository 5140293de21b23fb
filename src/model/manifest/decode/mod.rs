//! Decodes the tree into the manifest, reporting all problems at once.

mod builder;
mod clean;
mod cluster;
mod compose;
pub(crate) mod context;
mod deploy;
mod docker;
mod engines;
mod fleet;
pub(crate) mod path;
pub(crate) mod quantity;
mod scm;
mod script;
mod secrets;
mod service;
mod setting;
mod sidecar;
mod supply;

use std::collections::BTreeMap;
use std::path::PathBuf;

use self::context::{DecodeContext, DecodedValue};
use self::path::within_folder;
pub(super) use self::service::{DecodedService, ServiceSpans};
use super::Builders;
use super::clean::Clean;
use super::deploy::Deploy;
use super::error::SourceProblem;
use super::fleet::Fleets;
use super::name::ServiceName;
use super::node::{Node, NodeEntry, NodeKind};
use super::span::Span;
use super::supply::Supply;
use super::template::is_variable;
use crate::model::image::{Platform, RegistryPrefix};

/// The supported format version.
const VERSION: u64 = 1;

/// A decoded manifest, before the checks across services.
pub(super) struct Root {
    pub registry: Option<RegistryPrefix>,
    pub cache_dir: Option<PathBuf>,
    /// `None` if they are invalid.
    pub builders: Option<Builders>,
    pub services: Vec<DecodedService>,
    pub deploy: Option<Deploy>,
    pub clean: Clean,
    pub engines: BTreeMap<Platform, String>,
    pub fleets: Fleets,
    pub supply: Supply,
}

/// Decodes a manifest's tree, and reports problems to the context.
pub(super) fn root(cx: &mut DecodeContext, node: &Node) -> Root {
    let mut root = Root {
        registry: None,
        cache_dir: None,
        builders: Some(Builders::default()),
        services: Vec::new(),
        deploy: None,
        clean: Clean::default(),
        engines: BTreeMap::new(),
        fleets: Fleets::new(),
        supply: Supply::default(),
    };
    let NodeKind::Mapping(entries) = &node.kind else {
        let message = format!(
            "the manifest must be a mapping with the key `services`, not {}",
            node.describe()
        );
        cx.report(SourceProblem::at(node.span.first_line(cx.text), message));
        return root;
    };
    let start = entries.first().map_or(node.span, |entry| entry.key_span);
    let value = DecodedValue {
        node,
        path: String::new(),
        key_span: start,
        is_item: false,
    };
    let Some(mut fields) = value.fields(cx) else {
        return root;
    };
    if let Some(value) = fields.take("version")
        && !check_version(cx, &value)
    {
        // The keys of a newer format are unknown.
        return root;
    }
    root.registry = fields.take("registry").and_then(|value| value.parse(cx));
    root.cache_dir = fields
        .take("cacheDir")
        .and_then(|value| value.parse_with(cx, cache_dir));
    if let Some(value) = fields.take("builders") {
        root.builders = builders(cx, &value);
    }
    let defaults = fields.take("defaults");
    match fields.take("services") {
        Some(services) => {
            root.services = self::services(cx, &services, defaults.as_ref(), root.registry.as_ref())
        }
        None => cx.report(
            SourceProblem::at(start, "the manifest has no `services`")
                .help("add at least one service, with `dir`, `git.remote` and `docker.image`"),
        ),
    }
    // After the services, because it refers to their names.
    root.deploy = fields
        .take("deploy")
        .and_then(|value| deploy::deploy(cx, &value));
    root.clean = fields
        .take("clean")
        .and_then(|value| clean::clean(cx, &value))
        .unwrap_or_default();
    if let Some(value) = fields.take("engines") {
        root.engines = engines::engines(cx, &value);
    }
    if let Some(value) = fields.take("fleet") {
        root.fleets = fleet::fleets(cx, &value);
    }
    root.supply = fields
        .take("supply")
        .and_then(|value| supply::supply(cx, &value))
        .unwrap_or_default();
    fields.finish(cx);
    root
}

fn check_version(cx: &mut DecodeContext, value: &DecodedValue) -> bool {
    let Some(text) = value.text(cx) else {
        return true;
    };
    match text.text.parse::<u64>() {
        Ok(VERSION) => true,
        Ok(newer) if newer > VERSION => {
            let message =
                format!("the manifest has format version {newer}, but this xp supports {VERSION}");
            cx.report(SourceProblem::at(text.span, message).help("upgrade xp"));
            false
        }
        _ => {
            let message = format!("invalid format version `{}`", text.text);
            cx.report(
                SourceProblem::at(text.span.first_line(cx.text), message)
                    .help("write `version: 1`"),
            );
            true
        }
    }
}

fn cache_dir(text: &str) -> Result<PathBuf, String> {
    if text.starts_with('~') {
        return Err(
            "`~` is not expanded here; set XP_CACHE_DIR in the environment instead".to_owned(),
        );
    }
    if text.starts_with('/') {
        return Ok(PathBuf::from(text));
    }
    let path = within_folder(text)?;
    if path.as_os_str() == "." {
        return Err("the cache must have its own folder".to_owned());
    }
    Ok(path)
}

fn builders(cx: &mut DecodeContext, value: &DecodedValue) -> Option<Builders> {
    let mut builders = Builders::default();
    let mut fields = value.fields(cx)?;
    let dir = fields.take("dir");
    let dir = dir.map(|value| value.parse_with(cx, within_folder));
    let is_valid = dir != Some(None);
    if let Some(Some(dir)) = dir {
        builders.dir = dir;
    }
    if let Some(args) = fields.take("args") {
        for (entry, value) in args.entries(cx) {
            check_variable(cx, entry, "build argument");
            // Not always `text`, which rejects empty values.
            let is_template =
                matches!(&value.node.kind, NodeKind::Scalar { text, .. } if text.contains("${{"));
            let text = if is_template {
                value.text(cx)
            } else {
                value.raw_text(cx)
            };
            if let Some(text) = text {
                builders
                    .args
                    .insert(entry.key.clone(), text.text.to_owned());
            }
        }
    }
    fields.finish(cx);
    is_valid.then_some(builders)
}

fn services(
    cx: &mut DecodeContext,
    services: &DecodedValue,
    defaults: Option<&DecodedValue>,
    registry: Option<&RegistryPrefix>,
) -> Vec<DecodedService> {
    let entries = services.entries(cx);
    if entries.is_empty() && matches!(services.node.kind, NodeKind::Mapping(_)) {
        cx.report(SourceProblem::at(
            services.key_span,
            "`services` must not be empty",
        ));
    }
    let mut names: BTreeMap<Span, ServiceName> = BTreeMap::new();
    for (entry, _) in &entries {
        match entry.key.parse() {
            Ok(name) => {
                names.insert(entry.key_span, name);
            }
            Err(error) => cx.report(SourceProblem::at(
                entry.key_span.first_line(cx.text),
                format!("{error}"),
            )),
        }
    }
    cx.services = names.values().cloned().collect();
    if let Some(defaults) = defaults {
        // Checked on their own first, to find errors in values that every service overrides.
        let defaults = DecodedValue {
            path: String::new(),
            ..defaults.clone()
        };
        if matches!(defaults.node.kind, NodeKind::Mapping(_)) {
            service::partial(cx, &defaults, registry);
        } else {
            DecodedValue {
                path: "defaults".to_owned(),
                ..defaults
            }
            .fields(cx);
        }
    }
    let mut decoded = Vec::new();
    for (entry, value) in &entries {
        let merged = match defaults {
            Some(defaults) => value.node.merged_over_defaults(defaults.node),
            None => value.node.clone(),
        };
        let is_mapping = matches!(merged.kind, NodeKind::Mapping(_));
        let path = if is_mapping {
            String::new()
        } else {
            value.path.clone()
        };
        let value = DecodedValue {
            node: &merged,
            path,
            key_span: entry.key_span,
            is_item: false,
        };
        if let Some(name) = names.get(&entry.key_span) {
            decoded.extend(service::service(cx, name, &value, registry));
        }
    }
    decoded
}

/// Reports a key that is not a valid variable name.
pub(super) fn check_variable(cx: &mut DecodeContext, entry: &NodeEntry, what: &str) {
    if !is_variable(&entry.key) {
        let message = format!("invalid {what} name `{}`", entry.key);
        cx.report(
            SourceProblem::at(entry.key_span.first_line(cx.text), message)
                .help("use letters, digits and `_`, not starting with a digit"),
        );
    }
}
