//! The projects of one west manifest.

use std::collections::BTreeMap;

use super::super::path;
use super::super::project::Project;
use super::super::yaml::{YamlFile, get, unknown_keys};
use super::filter::{self, ImportFilter};
use crate::base::plural::join_with_and;
use crate::model::manifest::ManifestError;
use crate::model::manifest::node::{Node, NodeKind};

/// The keys of a project: read here, or not about its source.
const KEYS: &[&str] = &[
    "clone-depth",
    "description",
    "groups",
    "import",
    "name",
    "path",
    "remote",
    "repo-path",
    "revision",
    "submodules",
    "url",
    "userdata",
    "west-commands",
];

/// A project with its groups.
pub(super) struct WestProject {
    pub name: String,
    pub groups: Vec<String>,
    pub project: Project,
}

/// Returns the projects of a manifest with their nodes.
pub(super) fn projects<'n>(
    yaml: &YamlFile,
    file: &str,
    manifest: &'n Node,
    filter: &ImportFilter,
) -> Result<Vec<(&'n Node, WestProject)>, ManifestError> {
    let defaults = get(manifest, "defaults");
    let default = |key| match defaults {
        Some(defaults) => yaml.text_of(defaults, key),
        None => Ok(None),
    };
    let defaults = ProjectDefaults {
        remote: default("remote")?,
        revision: default("revision")?,
        remotes: remotes(yaml, manifest)?,
    };
    let mut projects = Vec::new();
    for node in
        get(manifest, "projects").map_or(Ok(&[][..]), |node| yaml.list(node, "`projects`"))?
    {
        projects.push((node, project(yaml, file, node, &defaults, filter)?));
    }
    Ok(projects)
}

struct ProjectDefaults<'n> {
    remote: Option<&'n str>,
    revision: Option<&'n str>,
    /// The URL prefix of each remote.
    remotes: BTreeMap<&'n str, &'n str>,
}

fn remotes<'n>(
    yaml: &YamlFile,
    manifest: &'n Node,
) -> Result<BTreeMap<&'n str, &'n str>, ManifestError> {
    let mut remotes = BTreeMap::new();
    for remote in yaml.list_of(manifest, "remotes")? {
        let pair = (
            yaml.text_of(remote, "name")?,
            yaml.text_of(remote, "url-base")?,
        );
        let (Some(name), Some(base)) = pair else {
            return Err(yaml.error(remote, "a remote needs `name` and `url-base`"));
        };
        remotes.insert(name, base.trim_end_matches('/'));
    }
    Ok(remotes)
}

fn project(
    yaml: &YamlFile,
    file: &str,
    node: &Node,
    defaults: &ProjectDefaults<'_>,
    filter: &ImportFilter,
) -> Result<WestProject, ManifestError> {
    let Some(name) = yaml.text_of(node, "name")? else {
        return Err(yaml.error(node, "a project has no `name`"));
    };
    // The prefix of a project's imports applies to the project as well.
    let prefix = match get(node, "import") {
        Some(import) => filter::prefix(yaml, import, filter)?,
        None => filter.prefix.clone(),
    };
    let written = yaml.text_of(node, "path")?.unwrap_or(name);
    let dir = path::join(prefix.as_deref().unwrap_or("."), written);
    let Some(dir) = dir.filter(|dir| dir != ".") else {
        let message = format!("`{written}` is outside the platform's folder");
        return Err(yaml.error(get(node, "path").unwrap_or(node), message));
    };
    let remote = yaml.text_of(node, "remote")?.or(defaults.remote);
    let url = match (yaml.text_of(node, "url")?, remote) {
        (Some(url), _) => url.to_owned(),
        (None, Some(remote)) => {
            let Some(base) = defaults.remotes.get(remote) else {
                let message = format!("project `{name}`: no remote `{remote}`");
                return Err(yaml.error(node, message));
            };
            let repository = yaml.text_of(node, "repo-path")?.unwrap_or(name);
            format!("{base}/{repository}")
        }
        (None, None) => {
            let message = format!("project `{name}` has neither `url` nor `remote`");
            return Err(yaml.error(node, message));
        }
    };
    let revision = yaml.text_of(node, "revision")?.or(defaults.revision);
    let mut project = Project {
        dir,
        file: file.to_owned(),
        remote: Some(url),
        // West's default.
        reference: Some(revision.unwrap_or("master").to_owned()),
        ..Project::default()
    };
    submodules(yaml, node, &mut project)?;
    let unknown = unknown_keys(node, KEYS, "");
    if !unknown.is_empty() {
        let unknown: Vec<String> = unknown.iter().map(|key| format!("`{key}`")).collect();
        let what = join_with_and(&unknown);
        project
            .todos
            .push(format!("not converted from {file}: {what}"));
    }
    let groups = yaml.texts_of(node, "groups")?;
    Ok(WestProject {
        name: name.to_owned(),
        groups: groups.into_iter().map(str::to_owned).collect(),
        project,
    })
}

/// Reads `submodules`: true for all, or a list of some.
fn submodules(yaml: &YamlFile, node: &Node, project: &mut Project) -> Result<(), ManifestError> {
    let Some(value) = get(node, "submodules") else {
        return Ok(());
    };
    match &value.kind {
        NodeKind::Scalar { text, .. } => {
            let text = text.to_ascii_lowercase();
            project.submodules = matches!(text.as_str(), "true" | "yes" | "on");
        }
        _ => {
            let mut paths = Vec::new();
            for item in yaml.list(value, "`submodules`")? {
                paths.extend(yaml.text_of(item, "path")?.map(|path| format!("`{path}`")));
            }
            if !paths.is_empty() {
                project.submodules = true;
                let only = join_with_and(&paths);
                project.remarks.push(format!(
                    "west fetches only the submodules {only}, xp fetches all"
                ));
            }
        }
    }
    Ok(())
}
