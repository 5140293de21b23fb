//! Build secrets of a compose file.

use super::super::build::BuildSecret;
use super::super::interpolation::{ComposeVariables, interpolate};
use super::super::path;
use super::super::yaml::get;
use super::ComposeFile;
use crate::model::manifest::ManifestError;
use crate::model::manifest::node::{Node, NodeKind};

/// Reads the top-level `secrets`.
pub(super) fn read(
    source: &ComposeFile<'_>,
    root: &Node,
    values: &ComposeVariables,
) -> Result<Vec<(String, BuildSecret)>, ManifestError> {
    let Some(node) = get(root, "secrets") else {
        return Ok(Vec::new());
    };
    let yaml = source.yaml;
    let mut secrets = Vec::new();
    for entry in yaml.mapping(node, "`secrets`")? {
        let text = |key| -> Result<_, ManifestError> {
            let text = yaml.text_of(&entry.value, key)?;
            Ok(text.map(|text| interpolate(text, values)))
        };
        let secret = match (text("environment")?, text("file")?) {
            (Some(value), _) | (None, Some(value)) if value.is_incomplete() => {
                BuildSecret::Unknown(format!("compose sets it from {}", value.cause()))
            }
            (Some(name), _) => BuildSecret::Variable(name.text),
            (None, Some(file)) => BuildSecret::File(located(source.dir, &file.text)),
            (None, None) => {
                BuildSecret::Unknown("it is not defined in the compose file".to_owned())
            }
        };
        secrets.push((entry.key.clone(), secret));
    }
    Ok(secrets)
}

/// Reads `build.secrets`: the id and the name of each secret.
pub(super) fn of_build(
    source: &ComposeFile<'_>,
    node: &Node,
    values: &ComposeVariables,
) -> Result<Vec<(String, String)>, ManifestError> {
    let yaml = source.yaml;
    let mut secrets = Vec::new();
    for item in yaml.list(node, "`build.secrets`")? {
        if let NodeKind::Scalar { text, .. } = &item.kind {
            let name = interpolate(text, values).text;
            secrets.push((name.clone(), name));
            continue;
        }
        yaml.mapping(item, "an item of `build.secrets`")?;
        let Some(name) = yaml.text_of(item, "source")? else {
            return Err(yaml.error(item, "an item of `build.secrets` has no `source`"));
        };
        let name = interpolate(name, values).text;
        let target = yaml.text_of(item, "target")?;
        let id = target.map_or_else(|| name.clone(), |id| interpolate(id, values).text);
        secrets.push((id, name));
    }
    Ok(secrets)
}

/// Returns a path relative to the manifest, if it is not absolute. A secret may be outside the platform's folder.
fn located(dir: &str, written: &str) -> String {
    if written.starts_with('/') || written.starts_with("~/") {
        return written.to_owned();
    }
    path::join(dir, written).unwrap_or_else(|| match dir {
        "." => written.to_owned(),
        dir => format!("{dir}/{written}"),
    })
}
