//! One service of one compose file.

use std::collections::BTreeMap;

use super::super::build::{Context, Value, git_context};
use super::super::interpolate::{Interpolated, UNSET, interpolate};
use super::super::yaml::get;
use super::super::{path, secret};
use super::merge::{Partial, PartialBuild};
use super::{Place, is_reset};
use crate::manifest::ManifestError;
use crate::manifest::node::{Kind, Node};

/// The keys of `build` that change what is built, and that a manifest has no word for.
const LOST: &[&str] = &[
    "entitlements",
    "extra_hosts",
    "network",
    "platforms",
    "privileged",
    "secrets",
    "ssh",
];

type Values = BTreeMap<String, String>;

/// Reads what one file says of a service.
pub(super) fn read(
    place: &Place<'_>,
    node: &Node,
    values: &Values,
) -> Result<Partial, ManifestError> {
    place.yaml.mapping(node, "a service")?;
    let mut partial = Partial {
        file: place.file.to_owned(),
        ..Partial::default()
    };
    if let Some(image) = get(node, "image")
        && !is_reset(place.yaml, image)
        && let Some(text) = place.yaml.text(image, "`image`")?
    {
        partial.image = Some(interpolate(text, values));
    }
    if let Some(node) = get(node, "build") {
        let replaces = place.yaml.tag(node) == Some("!override");
        partial.resets_build = replaces || is_reset(place.yaml, node);
        if !is_reset(place.yaml, node) {
            partial.build = build(place, node, values)?;
        }
    }
    Ok(partial)
}

fn build(
    place: &Place<'_>,
    node: &Node,
    values: &Values,
) -> Result<Option<PartialBuild>, ManifestError> {
    let yaml = place.yaml;
    let mut build = PartialBuild::default();
    match &node.kind {
        Kind::Null => return Ok(None),
        Kind::Scalar { text, .. } => {
            build.context = Some(context(place, text, values));
            return Ok(Some(build));
        }
        _ => yaml.mapping(node, "`build`")?,
    };
    if let Some(text) = yaml.text_of(node, "context")? {
        build.context = Some(context(place, text, values));
    }
    let mut known = |key: &str| -> Result<Option<String>, ManifestError> {
        let Some(text) = yaml.text_of(node, key)? else {
            return Ok(None);
        };
        let text = interpolate(text, values);
        if text.is_incomplete() {
            build.todos.push(format!(
                "compose takes `build.{key}` from {}, which `.env` does not set",
                variables(&text)
            ));
            return Ok(None);
        }
        Ok(Some(text.text))
    };
    build.dockerfile = known("dockerfile")?;
    build.target = known("target")?;
    if get(node, "dockerfile_inline").is_some() {
        let why = "its Dockerfile stands in the compose file, as `dockerfile_inline`: \
                   write it to a file of a repository";
        build.context = Some(Context::None(why.to_owned()));
    }
    if let Some(args) = get(node, "args") {
        for (name, value) in pairs(place, args, "`build.args`")? {
            let value = argument(&name, value.as_deref(), values);
            build.args.push((name, value));
        }
    }
    if let Some(contexts) = get(node, "additional_contexts") {
        for (name, value) in pairs(place, contexts, "`build.additional_contexts`")? {
            let value = value.unwrap_or_default();
            match value.strip_prefix("service:") {
                Some(service) => {
                    build.needs.push(service.to_owned());
                    build.todos.push(format!(
                        "the Dockerfile takes the image of `{service}` as `{name}`, an additional context: \
                         let it begin with `ARG {arg}` and `FROM ${{{arg}}} AS {name}`, and write here \
                         `args: {{{arg}: '${{{{ services.{service}.image }}}}'}}`",
                        arg = variable_name(&name),
                    ));
                }
                None => build.todos.push(format!(
                    "the additional context `{name}`, {value}, is not taken over: \
                     a build sees its own repository"
                )),
            }
        }
    }
    for key in LOST.iter().filter(|key| get(node, key).is_some()) {
        build
            .todos
            .push(format!("compose's `build.{key}` is not taken over"));
    }
    Ok(Some(build))
}

fn context(place: &Place<'_>, written: &str, values: &Values) -> Context {
    let text = interpolate(written, values);
    if text.is_incomplete() {
        return Context::None(format!(
            "its folder, `{written}`, depends on {}, which `.env` does not set",
            variables(&text)
        ));
    }
    if let Some(git) = git_context(&text.text) {
        return git;
    }
    if text.text.contains("://") {
        return Context::None(format!(
            "its context, {}, is neither a folder nor a git remote",
            text.text
        ));
    }
    match path::join(place.dir, &text.text) {
        Some(folder) => Context::Folder(folder),
        None => Context::None(format!(
            "its folder, `{}`, is outside of the platform's",
            text.text
        )),
    }
}

/// Returns what a build argument is; without a value it comes from the environment.
fn argument(name: &str, written: Option<&str>, values: &Values) -> Value {
    let text = match written {
        None => interpolate(&format!("${{{name}}}"), values),
        Some(written) => interpolate(written, values),
    };
    if text.is_incomplete() {
        return Value::Unknown(format!(
            "compose takes it from {}, which `.env` does not set",
            variables(&text)
        ));
    }
    let remark = (!text.variables.is_empty())
        .then(|| format!("in compose, {} may change it", variables(&text)));
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

/// Returns what is a mapping, or a list of `NAME=value`.
fn pairs(
    place: &Place<'_>,
    node: &Node,
    what: &str,
) -> Result<Vec<(String, Option<String>)>, ManifestError> {
    let yaml = place.yaml;
    if let Kind::Sequence(items) = &node.kind {
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

/// Returns an image's name without what is not known here: at the start a registry, at the end a tag.
pub(in super::super) fn known_image(image: &str) -> Option<&str> {
    let repository = super::super::build::repository_of(image);
    let known = repository.rsplit(UNSET).next()?.trim_start_matches('/');
    (!known.is_empty()).then_some(known)
}
