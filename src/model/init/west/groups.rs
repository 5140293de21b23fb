//! Which projects of a west workspace are active.

use regex::Regex;

use super::super::project::Projects;
use super::super::yaml::{YamlFile, get};
use super::project::WestProject;
use crate::model::manifest::ManifestError;
use crate::model::manifest::node::Node;

/// The `group-filter` of all manifests.
#[derive(Default)]
pub(super) struct GroupFilter {
    /// The filters in the order in which the manifests were read; the first one has the highest precedence.
    filters: Vec<(String, Vec<String>)>,
}

impl GroupFilter {
    /// Adds the filter of a manifest.
    pub fn add(&mut self, yaml: &YamlFile, manifest: &Node) -> Result<(), ManifestError> {
        if get(manifest, "group-filter").is_none() {
            return Ok(());
        }
        let version = yaml.text_of(manifest, "version")?.unwrap_or_default();
        let groups = yaml.texts_of(manifest, "group-filter")?;
        let groups = groups.into_iter().map(str::to_owned).collect();
        self.filters.push((version.to_owned(), groups));
        Ok(())
    }

    /// Returns the disabled groups. `settings` is the filter of the workspace, which overrides the others.
    fn disabled(&self, settings: &str) -> Vec<String> {
        let mut disabled: Vec<String> = Vec::new();
        let settings = settings.split(',').map(|group| group.trim().to_owned());
        let manifests = self
            .filters
            .iter()
            .rev()
            .flat_map(|(_, groups)| groups.clone());
        for group in manifests.chain(settings) {
            match (group.strip_prefix('-'), group.strip_prefix('+')) {
                (Some(name), _) => disabled.push(name.to_owned()),
                (_, Some(name)) => disabled.retain(|known| known != name),
                _ => {}
            }
        }
        disabled
    }
}

/// Separates the active projects from the others.
pub(super) fn active(
    projects: Vec<WestProject>,
    groups: GroupFilter,
    configuration: &str,
    failed: Vec<(String, String)>,
) -> Projects {
    let disabled = groups.disabled(&setting(configuration, "group-filter").unwrap_or_default());
    let chosen = setting(configuration, "project-filter").unwrap_or_default();
    let chosen: Vec<(bool, Option<Regex>)> = chosen
        .split(',')
        .filter_map(|item| {
            let item = item.trim();
            let pattern = item.strip_prefix(['+', '-'])?;
            let whole = format!("^(?:{pattern})$");
            Some((item.starts_with('+'), Regex::new(&whole).ok()))
        })
        .collect();
    let mut found = Projects {
        failed,
        ..Projects::default()
    };
    for WestProject {
        name,
        groups,
        project,
    } in projects
    {
        let is_matched = |(_, pattern): &&(bool, Option<Regex>)| {
            pattern.as_ref().is_some_and(|it| it.is_match(&name))
        };
        let is_chosen = chosen
            .iter()
            .rfind(is_matched)
            .map(|(is_active, _)| *is_active);
        let is_enabled = groups.is_empty() || groups.iter().any(|group| !disabled.contains(group));
        match is_chosen {
            Some(true) => found.projects.push(project),
            Some(false) => {
                let why = "the project filter of the workspace disables it".to_owned();
                found.skipped.push((project.dir, why));
            }
            None if is_enabled => found.projects.push(project),
            None => {
                let why = format!("{} disables its group: {}", project.file, groups.join(", "));
                found.skipped.push((project.dir, why));
            }
        }
    }
    found
}

/// Returns a setting in the section `manifest` of `.west/config`.
pub(in super::super) fn setting(configuration: &str, key: &str) -> Option<String> {
    let mut is_manifest = false;
    let mut found = None;
    for line in configuration.lines() {
        let line = line.trim();
        if let Some(section) = line.strip_prefix('[') {
            is_manifest = section.starts_with("manifest]");
        }
        let Some((name, value)) = line.split_once(['=', ':']) else {
            continue;
        };
        if is_manifest && !line.starts_with(['#', ';']) && name.trim() == key {
            found = Some(value.trim().to_owned());
        }
    }
    found
}
