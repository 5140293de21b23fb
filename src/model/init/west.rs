//! Reader of `west.yml`.

mod filter;
mod groups;
mod project;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use self::filter::{ImportFilter, Imported, imports};
use self::groups::GroupFilter;
pub(super) use self::groups::setting;
use self::project::WestProject;
use super::files::FileLoader;
use super::project::Projects;
use super::yaml::{YamlFile, get};
use super::{ListFiles, ReadFile, path};
use crate::model::manifest::ManifestError;
use crate::model::manifest::node::Node;

/// Reads a west manifest and the imports that are cloned here.
///
/// `folder` is the manifest's repository, which imports are relative to. Project paths are relative to the
/// workspace, which is the platform's folder.
///
/// # Errors
///
/// The file is missing or invalid. An import that cannot be read is reported in the result.
pub fn read(
    file: &str,
    folder: &str,
    read: &ReadFile<'_>,
    list: &ListFiles<'_>,
) -> Result<Projects, ManifestError> {
    let mut reader = WestReader {
        files: FileLoader::new(read),
        list,
        open: Vec::new(),
        names: BTreeSet::new(),
        groups: GroupFilter::default(),
        projects: Vec::new(),
        failed: Vec::new(),
    };
    reader.file(file, folder, &ImportFilter::default())?;
    let settings = read(".west/config")?.unwrap_or_default();
    Ok(groups::active(
        reader.projects,
        reader.groups,
        &settings,
        reader.failed,
    ))
}

struct WestReader<'r> {
    files: FileLoader<'r>,
    list: &'r ListFiles<'r>,
    open: Vec<String>,
    /// The names so far: the first project with a name wins.
    names: BTreeSet<String>,
    groups: GroupFilter,
    projects: Vec<WestProject>,
    /// Imports that could not be read, with the reason.
    failed: Vec<(String, String)>,
}

impl WestReader<'_> {
    /// Reads a manifest. `folder` is the repository that it belongs to.
    fn file(
        &mut self,
        file: &str,
        folder: &str,
        filter: &ImportFilter,
    ) -> Result<(), ManifestError> {
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
        let result = self.manifest(&yaml, file, folder, manifest, filter);
        self.open.pop();
        result
    }

    fn manifest(
        &mut self,
        yaml: &YamlFile,
        file: &str,
        folder: &str,
        manifest: &Node,
        filter: &ImportFilter,
    ) -> Result<(), ManifestError> {
        // Like west, read the imports of the manifest's own repository first.
        if let Some(import) = get(manifest, "self").and_then(|own| get(own, "import")) {
            for imported in imports(yaml, import, filter)? {
                self.import(file, folder, &imported, true)?;
            }
        }
        self.groups.add(yaml, manifest)?;
        let mut imports_to_read = Vec::new();
        for (node, project) in project::projects(yaml, file, manifest, filter)? {
            if !filter.includes(&project.name, &project.project.dir)
                || !self.names.insert(project.name.clone())
            {
                continue;
            }
            if let Some(import) = get(node, "import") {
                imports_to_read.push((project.project.dir.clone(), import));
            }
            self.projects.push(project);
        }
        for (dir, import) in imports_to_read {
            for imported in imports(yaml, import, filter)? {
                self.import(file, &dir, &imported, false)?;
            }
        }
        Ok(())
    }

    /// Reads an imported file, or all manifests of an imported folder.
    fn import(
        &mut self,
        file: &str,
        folder: &str,
        imported: &Imported,
        is_own: bool,
    ) -> Result<(), ManifestError> {
        let written = &imported.file;
        let Some(path) = path::join(folder, written) else {
            let why = format!("{file} imports it, but it is outside the platform's folder");
            self.failed.push((written.clone(), why));
            return Ok(());
        };
        let is_manifest = |name: &String| name.ends_with(".yml") || name.ends_with(".yaml");
        let mut names: Vec<String> = (self.list)(&path).into_iter().filter(is_manifest).collect();
        names.sort();
        let paths: Vec<String> = match names.as_slice() {
            [] if self.files.exists(&path)? => vec![path],
            [] if is_own => {
                let why = format!("{file} imports it, but it has no manifests");
                self.failed.push((path, why));
                return Ok(());
            }
            [] => {
                let project = self
                    .projects
                    .iter_mut()
                    .find(|project| project.project.dir == folder);
                if let Some(project) = project {
                    project.project.todos.push(format!(
                        "west imports more projects from its `{written}`, which is not cloned here: \
                         run `west update`, then `xp init --force`"
                    ));
                }
                return Ok(());
            }
            names => names.iter().map(|name| format!("{path}/{name}")).collect(),
        };
        for path in paths {
            if self.open.contains(&path) {
                return Err(super::file_error(&path, format!("`{path}` imports itself")));
            }
            // One import that is invalid does not stop the others.
            if let Err(error) = self.file(&path, folder, &imported.filter) {
                self.failed.push((path, super::one_line(&error)));
            }
        }
        Ok(())
    }
}
