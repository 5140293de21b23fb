//! Parsing of one service in one compose file.

use std::collections::BTreeMap;

use super::super::build::{ArgValue, BuildContext, git_context};
use super::super::interpolation::{Interpolated, UNSET, interpolate};
use super::super::yaml::get;
use super::super::{path, secret};
use super::merge::{ComposeService, PartialBuild};
use super::{ComposeFile, is_reset};
use crate::model::manifest::ManifestError;
use crate::model::manifest::node::{Node, NodeKind};

/// Keys of `build` that affect the image and have no equivalent in a manifest.
const UNSUPPORTED: &[&str] = &[
    "entitlements",
    "extra_hosts",
    "network",
    "platforms",
    "privileged",
    "secrets",
    "ssh",
];

type ComposeValues = BTreeMap<String, String>;

/// Reads a service of one file.
pub(super) fn read(
    source: &ComposeFile<'_>,
    node: &Node,
    values: &ComposeValues,
) -> Result<ComposeService, ManifestError> {
    source.yaml.mapping(node, "a service")?;
    let mut partial = ComposeService {
        file: source.file.to_owned(),
        ..ComposeService::default()
    };
    if let Some(image) = get(node, "image")
        && !is_reset(source.yaml, image)
        && let Some(text) = source.yaml.text(image, "`image`")?
    {
        partial.image = Some(interpolate(text, values));
    }
    if let Some(node) = get(node, "build") {
        let replaces = source.yaml.tag(node) == Some("!override");
        partial.resets_build = replaces || is_reset(source.yaml, node);
        if !is_reset(source.yaml, node) {
            partial.build = build(source, node, values)?;
        }
    }
    Ok(partial)
}

fn build(
    source: &ComposeFile<'_>,
    node: &Node,
    values: &ComposeValues,
) -> Result<Option<PartialBuild>, ManifestError> {
    let yaml = source.yaml;
    let mut build = PartialBuild::default();
    match &node.kind {
        NodeKind::Null => return Ok(None),
        NodeKind::Scalar { text, .. } => {
            build.context = Some(context(source, text, values));
            return Ok(Some(build));
        }
        _ => yaml.mapping(node, "`build`")?,
    };
    if let Some(text) = yaml.text_of(node, "context")? {
        build.context = Some(context(source, text, values));
    }
    let mut known = |key: &str| -> Result<Option<String>, ManifestError> {
        let Some(text) = yaml.text_of(node, key)? else {
            return Ok(None);
        };
        let text = interpolate(text, values);
        if text.is_incomplete() {
            build.todos.push(format!(
                "compose sets `build.{key}` from {}, which is not set in `.env`",
                variables(&text)
            ));
            return Ok(None);
        }
        Ok(Some(text.text))
    };
    build.dockerfile = known("dockerfile")?;
    build.target = known("target")?;
    if get(node, "dockerfile_inline").is_some() {
        let why = "its Dockerfile is inlined in the compose file with `dockerfile_inline`: \
                   move it to a file in a repository";
        build.context = Some(BuildContext::None(why.to_owned()));
    }
    if let Some(args) = get(node, "args") {
        for (name, value) in pairs(source, args, "`build.args`")? {
            let value = argument(&name, value.as_deref(), values);
            build.args.push((name, value));
        }
    }
    if let Some(contexts) = get(node, "additional_contexts") {
        for (name, value) in pairs(source, contexts, "`build.additional_contexts`")? {
            let value = value.unwrap_or_default();
            match value.strip_prefix("service:") {
                Some(service) => {
                    build.needs.push(service.to_owned());
                    build.todos.push(format!(
                        "the Dockerfile uses the image of `{service}` as the additional context `{name}`: \
                         start it with `ARG {arg}` and `FROM ${{{arg}}} AS {name}`, and add \
                         `args: {{{arg}: '${{{{ services.{service}.image }}}}'}}` here",
                        arg = variable_name(&name),
                    ));
                }
                None => build.todos.push(format!(
                    "the additional context `{name}` ({value}) was not converted: \
                     a build only has access to its own repository"
                )),
            }
        }
    }
    for key in UNSUPPORTED.iter().filter(|key| get(node, key).is_some()) {
        build.todos.push(format!(
            "`build.{key}` of the compose file was not converted"
        ));
    }
    Ok(Some(build))
}

fn context(source: &ComposeFile<'_>, written: &str, values: &ComposeValues) -> BuildContext {
    let text = interpolate(written, values);
    if text.is_incomplete() {
        return BuildContext::None(format!(
            "its folder, `{written}`, depends on {}, which is not set in `.env`",
            variables(&text)
        ));
    }
    if let Some(git) = git_context(&text.text) {
        return git;
    }
    if text.text.contains("://") {
        return BuildContext::None(format!(
            "its context, {}, is neither a folder nor a git remote",
            text.text
        ));
    }
    match path::join(source.dir, &text.text) {
        Some(folder) => BuildContext::Folder(folder),
        None => BuildContext::None(format!(
            "its folder, `{}`, is outside the platform's folder",
            text.text
        )),
    }
}

/// Returns the value of a build argument; one without a value comes from the environment.
fn argument(name: &str, written: Option<&str>, values: &ComposeValues) -> ArgValue {
    let text = match written {
        None => interpolate(&format!("${{{name}}}"), values),
        Some(written) => interpolate(written, values),
    };
    if text.is_incomplete() {
        return ArgValue::Unknown(format!(
            "compose sets it from {}, which is not set in `.env`",
            variables(&text)
        ));
    }
    let remark = (!text.variables.is_empty())
        .then(|| format!("compose lets {} override it", variables(&text)));
    secret::argument(name, &text.text, &text.variables, remark)
}

fn variables(text: &Interpolated) -> String {
    let names: Vec<String> = text
        .variables
        .iter()
        .map(|name| format!("`{name}`"))
        .collect();
    names.join(", ")
}

fn variable_name(name: &str) -> String {
    name.to_ascii_uppercase()
        .replace(|c: char| !c.is_ascii_alphanumeric(), "_")
}

/// Returns the pairs of a mapping or a list of `NAME=value`.
fn pairs(
    source: &ComposeFile<'_>,
    node: &Node,
    what: &str,
) -> Result<Vec<(String, Option<String>)>, ManifestError> {
    let yaml = source.yaml;
    if let NodeKind::Sequence(items) = &node.kind {
        let texts: Result<Vec<_>, _> = items.iter().map(|item| yaml.text(item, what)).collect();
        let pair = |text: &str| match text.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (text.to_owned(), None),
        };
        return Ok(texts?.into_iter().flatten().map(pair).collect());
    }
    let mut pairs = Vec::new();
    for entry in yaml.mapping(node, what)? {
        let value = yaml.text(&entry.value, what)?;
        pairs.push((entry.key.clone(), value.map(str::to_owned)));
    }
    Ok(pairs)
}

/// Returns an image name without its tag and without a prefix that contains unset variables.
pub(in super::super) fn known_image(image: &str) -> Option<&str> {
    let repository = super::super::build::repository_of(image);
    let known = repository.rsplit(UNSET).next()?.trim_start_matches('/');
    (!known.is_empty()).then_some(known)
}
