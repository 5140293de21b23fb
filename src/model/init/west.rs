//! WestReader of `west.yml`.

use std::collections::BTreeMap;

use super::files::FileLoader;
use super::project::{Project, Projects};
use super::yaml::{YamlFile, get};
use super::{ReadFile, path};
use crate::model::manifest::ManifestError;
use crate::model::manifest::node::{Node, NodeKind};

/// Reads a west manifest and the imports that are cloned here.
///
/// Project paths are relative to the workspace, which is the platform's folder.
///
/// # Errors
///
/// A file is missing or invalid, or manifests import each other in a cycle.
pub fn read(file: &str, read: &ReadFile<'_>) -> Result<Projects, ManifestError> {
    let mut reader = WestReader {
        read,
        files: FileLoader::new(read),
        open: Vec::new(),
        names: Vec::new(),
        found: Projects::default(),
    };
    reader.file(file, &ImportFilter::default())?;
    Ok(reader.found)
}

struct WestReader<'r> {
    read: &'r ReadFile<'r>,
    files: FileLoader<'r>,
    open: Vec<String>,
    /// The names so far: the first project with a name wins.
    names: Vec<String>,
    found: Projects,
}

/// Restrictions on an imported manifest.
#[derive(Clone, Default)]
struct ImportFilter {
    prefix: Option<String>,
    allowed: Vec<String>,
    blocked: Vec<String>,
}

impl ImportFilter {
    fn includes(&self, name: &str) -> bool {
        let is_in = |list: &[String]| list.iter().any(|known| known == name);
        (self.allowed.is_empty() || is_in(&self.allowed)) && !is_in(&self.blocked)
    }
}

impl WestReader<'_> {
    fn file(&mut self, file: &str, filter: &ImportFilter) -> Result<(), ManifestError> {
        let text = self.files.open(file)?;
        let yaml = YamlFile::parse(file, &text)?;
        let Some(manifest) = yaml.root()?.and_then(|root| get(root, "manifest")) else {
            return Err(super::file_error(
                file,
                "not a west manifest: it has no `manifest`",
            ));
        };
        yaml.mapping(manifest, "`manifest`")?;
        if self.open.iter().any(|open| open == file) {
            return Err(yaml.error(manifest, format!("`{file}` imports itself")));
        }
        self.open.push(file.to_owned());
        // Like west, read the imports of the manifest's own repository first.
        if let Some(import) = get(manifest, "self").and_then(|own| get(own, "import")) {
            let folder = path::parent(file).to_owned();
            for (written, filter) in imports(&yaml, import, filter)? {
                let Some(path) = path::join(&folder, &written) else {
                    let message = format!("`{written}` is outside the platform's folder");
                    return Err(yaml.error(import, message));
                };
                self.file(&path, &filter)?;
            }
        }
        self.projects(&yaml, file, manifest, filter)?;
        self.open.pop();
        Ok(())
    }

    fn projects(
        &mut self,
        yaml: &YamlFile,
        file: &str,
        manifest: &Node,
        filter: &ImportFilter,
    ) -> Result<(), ManifestError> {
        let defaults = get(manifest, "defaults");
        let default = |key| match defaults {
            Some(defaults) => yaml.text_of(defaults, key),
            None => Ok(None),
        };
        let (default_remote, default_revision) = (default("remote")?, default("revision")?);
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
        let disabled: Vec<&str> = yaml
            .texts_of(manifest, "group-filter")?
            .into_iter()
            .filter_map(|group| group.strip_prefix('-'))
            .collect();
        let mut imports_to_read = Vec::new();
        for node in yaml.list_of(manifest, "projects")? {
            let Some(name) = yaml.text_of(node, "name")? else {
                return Err(yaml.error(node, "a project has no `name`"));
            };
            if !filter.includes(name) || self.names.iter().any(|known| known == name) {
                continue;
            }
            self.names.push(name.to_owned());
            let below = filter.prefix.as_deref().unwrap_or(".");
            let written = yaml.text_of(node, "path")?.unwrap_or(name);
            let Some(dir) = path::join(below, written).filter(|dir| dir != ".") else {
                let message = format!("`{written}` is outside the platform's folder");
                return Err(yaml.error(get(node, "path").unwrap_or(node), message));
            };
            let groups = yaml.texts_of(node, "groups")?;
            if !groups.is_empty() && groups.iter().all(|group| disabled.contains(group)) {
                let why = format!("{file} disables its group: {}", groups.join(", "));
                self.found.skipped.push((dir, why));
                continue;
            }
            let remote = yaml.text_of(node, "remote")?.or(default_remote);
            let url = match (yaml.text_of(node, "url")?, remote) {
                (Some(url), _) => url.to_owned(),
                (None, Some(remote)) => {
                    let Some(base) = remotes.get(remote) else {
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
            // West's default.
            let revision = yaml.text_of(node, "revision")?.or(default_revision);
            let project = Project {
                dir: dir.clone(),
                file: file.to_owned(),
                remote: Some(url),
                reference: Some(revision.unwrap_or("master").to_owned()),
                todos: Vec::new(),
            };
            self.found.projects.push(project);
            if let Some(import) = get(node, "import") {
                imports_to_read.push((dir, import));
            }
        }
        for (dir, import) in imports_to_read {
            self.import_of_project(yaml, &dir, import, filter)?;
        }
        Ok(())
    }

    fn import_of_project(
        &mut self,
        yaml: &YamlFile,
        dir: &str,
        import: &Node,
        filter: &ImportFilter,
    ) -> Result<(), ManifestError> {
        for (written, filter) in imports(yaml, import, filter)? {
            let Some(path) = path::join(dir, &written) else {
                let message = format!("`{written}` is outside the platform's folder");
                return Err(yaml.error(import, message));
            };
            if (self.read)(&path)?.is_some() {
                self.file(&path, &filter)?;
            } else if let Some(project) = self
                .found
                .projects
                .iter_mut()
                .find(|project| project.dir == dir)
            {
                project.todos.push(format!(
                    "west imports more projects from its `{written}`, which is not cloned here: \
                     run `west update`, then `xp init --force`"
                ));
            }
        }
        Ok(())
    }
}

/// Returns the files of an `import`, with their filters.
fn imports(
    yaml: &YamlFile,
    import: &Node,
    outer: &ImportFilter,
) -> Result<Vec<(String, ImportFilter)>, ManifestError> {
    match &import.kind {
        NodeKind::Null => Ok(Vec::new()),
        NodeKind::Scalar { text, .. } => Ok(match text.as_str() {
            "false" => Vec::new(),
            "true" => vec![("west.yml".to_owned(), outer.clone())],
            file => vec![(file.to_owned(), outer.clone())],
        }),
        NodeKind::Sequence(items) => {
            let mut all = Vec::new();
            for item in items {
                // West ignores nested lists.
                if !matches!(item.kind, NodeKind::Sequence(_)) {
                    all.extend(imports(yaml, item, outer)?);
                }
            }
            Ok(all)
        }
        NodeKind::Mapping(_) => {
            let texts = |key| -> Result<Vec<String>, ManifestError> {
                let texts = yaml.texts_of(import, key)?;
                Ok(texts.into_iter().map(str::to_owned).collect())
            };
            let below = outer.prefix.as_deref().unwrap_or(".");
            let prefix = match yaml.text_of(import, "path-prefix")? {
                None => outer.prefix.clone(),
                Some(prefix) => Some(path::join(below, prefix).ok_or_else(|| {
                    yaml.error(
                        import,
                        format!("`{prefix}` is outside the platform's folder"),
                    )
                })?),
            };
            let filter = ImportFilter {
                prefix,
                allowed: texts("name-allowlist")?,
                blocked: [outer.blocked.clone(), texts("name-blocklist")?].concat(),
            };
            let file = yaml.text_of(import, "file")?.unwrap_or("west.yml");
            Ok(vec![(file.to_owned(), filter)])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::files;
    use super::*;

    const FILE: &str = "\
manifest:
  version: '1.0'
  defaults: {remote: house, revision: main}
  group-filter: [-docs]
  remotes:
    - {name: house, url-base: 'https://git.example.com/x/'}
    - {name: other, url-base: 'git@other.example.com:y'}
  projects:
    - name: api
      path: services/api
    - {name: web, remote: other, repo-path: frontends/web.git, revision: v1.2}
    - {name: tool, url: 'https://elsewhere.example.com/tool', revision: 0123456}
    - {name: handbook, groups: [docs]}
    - name: libs
      import:
        path-prefix: third
        name-blocklist: [junk]
    - {name: gone, import: true}
  self:
    path: manifest
    import: extra.yml
";

    #[test]
    fn imported_projects_are_included() {
        let imported = "manifest:\n  remotes: [{name: r, url-base: 'https://r'}]\n  projects: [{name: a, remote: r}, {name: junk, remote: r}, {name: api, remote: r}]\n";
        let extra = "manifest:\n  projects: [{name: web, url: 'https://mine/web'}]\n";
        let files = files(&[
            ("manifest/west.yml", FILE),
            ("manifest/extra.yml", extra),
            ("libs/west.yml", imported),
        ]);
        let found = read("manifest/west.yml", &files).unwrap();
        let shown: Vec<String> = found
            .projects
            .iter()
            .map(|project| {
                let remote = project.remote.as_deref().unwrap_or("-");
                let reference = project.reference.as_deref().unwrap_or("-");
                format!("{} {remote} {reference}", project.dir)
            })
            .collect();
        assert_eq!(
            shown,
            [
                "web https://mine/web master",
                "services/api https://git.example.com/x/api main",
                "tool https://elsewhere.example.com/tool 0123456",
                "libs https://git.example.com/x/libs main",
                "gone https://git.example.com/x/gone main",
                "third/a https://r/a master",
            ]
        );
        assert_eq!(found.skipped[0].0, "handbook");
        assert!(found.projects[4].todos[0].contains("west update"));
    }

    #[test]
    fn invalid_manifests_are_rejected() {
        for (text, expected) in [
            ("a: 1\n", "not a west manifest"),
            ("manifest: {projects: x}\n", "must be a list"),
            ("manifest: {projects: [{name: a}]}\n", "neither `url` nor"),
            (
                "manifest: {projects: [{name: a, remote: r}]}\n",
                "no remote `r`",
            ),
            (
                "manifest: {projects: [{name: a, url: h, path: ../a}]}\n",
                "outside the platform",
            ),
            ("manifest: {self: {import: west.yml}}\n", "imports itself"),
        ] {
            let files = files(&[("west.yml", text)]);
            let error = read("west.yml", &files).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
