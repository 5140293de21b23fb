//! The builders of Skaffold that use a Dockerfile.

use super::super::build::{ArgValue, Build, BuildSecret};
use super::super::yaml::{YamlFile, get};
use super::super::{path, secret};
use super::keys;
use crate::model::manifest::ManifestError;
use crate::model::manifest::node::{Node, NodeKind};

/// The keys of an artifact with such a builder.
pub(super) const BUILDERS: [&str; 2] = ["docker", "kaniko"];

/// Reads one builder of an artifact.
pub(super) fn read(
    yaml: &YamlFile,
    builder: &str,
    node: &Node,
    build: &mut Build,
) -> Result<(), ManifestError> {
    yaml.mapping(node, "a builder")?;
    build.dockerfile = yaml.text_of(node, "dockerfile")?.map(str::to_owned);
    build.target = yaml.text_of(node, "target")?.map(str::to_owned);
    build.cache = get(node, "cacheFrom").is_some();
    if let Some(args) = get(node, "buildArgs") {
        for entry in yaml.mapping(args, "`buildArgs`")? {
            let text = yaml.text(&entry.value, "a build argument")?;
            let value = argument(&entry.key, text);
            build.args.push((entry.key.clone(), value));
        }
    }
    build
        .unsupported
        .extend(keys::unknown_in_builder(builder, node));
    // `secret` is a single one, in old versions of the format.
    for key in ["secrets", "secret"] {
        let items = match get(node, key) {
            None => continue,
            Some(node) => match &node.kind {
                NodeKind::Sequence(items) => items.as_slice(),
                _ => std::slice::from_ref(node),
            },
        };
        for item in items {
            build.secrets.extend(build_secret(yaml, item, &build.file)?);
        }
    }
    match yaml.text_of(node, "ssh")? {
        None => {}
        Some("default") => build.ssh = true,
        Some(other) => _ = build.unsupported.insert(format!("{builder}.ssh ({other})")),
    }
    Ok(())
}

fn build_secret(
    yaml: &YamlFile,
    node: &Node,
    file: &str,
) -> Result<Option<(String, BuildSecret)>, ManifestError> {
    yaml.mapping(node, "a secret")?;
    let Some(id) = yaml.text_of(node, "id")? else {
        return Ok(None);
    };
    let secret = match (yaml.text_of(node, "env")?, yaml.text_of(node, "src")?) {
        (Some(text), _) | (_, Some(text)) if text.contains("{{") => {
            BuildSecret::Unknown(format!("Skaffold computes it from the template `{text}`"))
        }
        (Some(variable), _) => BuildSecret::Variable(variable.to_owned()),
        (None, Some(source)) if source.starts_with(['/', '~']) => {
            BuildSecret::File(source.to_owned())
        }
        (None, Some(source)) => {
            let found = path::join(path::parent(file), source);
            BuildSecret::File(found.unwrap_or_else(|| source.to_owned()))
        }
        // Docker's default: the variable or the file with the name of the id.
        (None, None) => BuildSecret::Variable(id.to_owned()),
    };
    Ok(Some((id.to_owned(), secret)))
}

fn argument(name: &str, text: Option<&str>) -> ArgValue {
    match text {
        Some(text) if text.contains("{{") && !text.contains("${{") => ArgValue::Unknown(format!(
            "Skaffold computes it from the template `{text}`; use `${{{{ env.NAME }}}}` for a variable"
        )),
        Some(text) => secret::argument(name, text, &[], None),
        None => ArgValue::Unknown("Skaffold reads it from the environment".to_owned()),
    }
}
