//! Parsing of one service in one compose file.

use super::super::build::{ArgValue, BuildContext, git_context};
use super::super::interpolation::{ComposeVariables, Interpolated, UNSET, interpolate};
use super::super::yaml::get;
use super::super::{path, secret};
use super::merge::{ComposeService, PartialBuild};
use super::{ComposeFile, is_reset, keys, scalar, secrets};
use crate::model::manifest::ManifestError;
use crate::model::manifest::node::{Node, NodeKind};

/// Reads a service of one file.
pub(super) fn read(
    source: &ComposeFile<'_>,
    node: &Node,
    values: &ComposeVariables,
) -> Result<ComposeService, ManifestError> {
    source.yaml.mapping(node, "a service")?;
    let mut partial = ComposeService {
        file: source.file.to_owned(),
        unsupported: keys::unknown_in_service(node).into_iter().collect(),
        ..ComposeService::default()
    };
    if let Some(image) = get(node, "image")
        && !is_reset(source.yaml, image)
        && let Some(text) = source.yaml.text(image, "`image`")?
    {
        partial.image = Some(interpolate(text, values));
    }
    if let Some(text) = source.yaml.text_of(node, "platform")? {
        partial.platform = Some(interpolate(text, values).text);
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
    values: &ComposeVariables,
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
            build
                .todos
                .push(format!("compose sets `build.{key}` from {}", text.cause()));
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
        for (name, value) in pairs(source, args, "`build.args`", values)? {
            let value = match get(args, &name).and_then(|node| number(source, node)) {
                Some((text, remark)) => ArgValue::Text(text, Some(remark)),
                None => argument(&name, value, values),
            };
            build.args.push((name, value));
        }
    }
    if let Some(contexts) = get(node, "additional_contexts") {
        for (name, value) in pairs(source, contexts, "`build.additional_contexts`", values)? {
            build.contexts.push((name, value.unwrap_or_default().text));
        }
    }
    if let Some(written) = get(node, "secrets") {
        build.secrets = secrets::of_build(source, written, values)?;
    }
    for written in yaml.texts_of(node, "tags")? {
        build.tags.push(interpolate(written, values).text);
    }
    for written in yaml.texts_of(node, "platforms")? {
        build.platforms.push(interpolate(written, values).text);
    }
    // Of images in a registry, not of other kinds of caches such as `type=gha`.
    let sources = yaml.texts_of(node, "cache_from")?;
    build.cache = sources
        .iter()
        .any(|it| !it.contains("type=") || it.contains("type=registry"));
    build.unsupported = keys::unknown_in_build(node).into_iter().collect();
    if let Some(ssh) = get(node, "ssh") {
        let agents = match &ssh.kind {
            NodeKind::Scalar { text, .. } => vec![(text.clone(), None)],
            _ => pairs(source, ssh, "`build.ssh`", values)?,
        };
        for (id, socket) in agents {
            // xp forwards the agent only, as `default`.
            let is_agent = socket.is_none_or(|socket| socket.text.is_empty());
            if id == "default" && is_agent {
                build.ssh = true;
            } else {
                build.unsupported.insert(format!("build.ssh ({id})"));
            }
        }
    }
    Ok(Some(build))
}

fn context(source: &ComposeFile<'_>, written: &str, values: &ComposeVariables) -> BuildContext {
    let text = interpolate(written, values);
    if text.is_incomplete() {
        return BuildContext::None(format!(
            "its folder, `{written}`, depends on {}",
            text.cause()
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

/// Returns the text of an unquoted number, with a remark, if compose changes it.
fn number(source: &ComposeFile<'_>, node: &Node) -> Option<(String, String)> {
    let text = source.yaml.plain(node)?;
    let read = scalar::reread(text)?;
    let remark = format!("compose reads {text}, which is not quoted, as {read}");
    Some((read, remark))
}

/// Returns the value of a build argument; one without a value comes from the environment.
fn argument(name: &str, written: Option<Interpolated>, values: &ComposeVariables) -> ArgValue {
    let text = written.unwrap_or_else(|| interpolate(&format!("${{{name}}}"), values));
    if text.is_incomplete() {
        return ArgValue::Unknown(format!("compose sets it from {}", text.cause()));
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

/// Returns the pairs of a mapping or a list of `NAME=value`, with their variables replaced.
pub(super) fn pairs(
    source: &ComposeFile<'_>,
    node: &Node,
    what: &str,
    values: &ComposeVariables,
) -> Result<Vec<(String, Option<Interpolated>)>, ManifestError> {
    let yaml = source.yaml;
    let mut pairs = Vec::new();
    match &node.kind {
        NodeKind::Mapping(entries) => {
            for entry in entries {
                let value = yaml.text(&entry.value, what)?;
                let value = value.map(|value| interpolate(value, values));
                pairs.push((entry.key.clone(), value));
            }
        }
        _ => {
            for item in yaml.list(node, what)? {
                let Some(text) = yaml.text(item, what)? else {
                    continue;
                };
                let mut pair = interpolate(text, values);
                match pair.text.split_once('=') {
                    Some((name, value)) => {
                        let name = name.to_owned();
                        pair.text = value.to_owned();
                        pairs.push((name, Some(pair)));
                    }
                    None => pairs.push((pair.text, None)),
                }
            }
        }
    }
    Ok(pairs)
}

/// Returns an image name without its tag and without a prefix that contains unset variables.
pub(in super::super) fn known_image(image: &str) -> Option<&str> {
    let repository = super::super::build::repository_of(image);
    let known = repository.rsplit(UNSET).next()?.trim_start_matches('/');
    (!known.is_empty()).then_some(known)
}
