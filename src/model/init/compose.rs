//! Reader of `compose.yaml`.

mod convert;
mod environment;
mod keys;
mod merge;
mod scalar;
mod secrets;
mod service;

use std::collections::BTreeSet;

pub(super) use self::environment::named_files;
use self::merge::ComposeService;
pub(super) use self::service::known_image;
use super::build::{Build, BuildSecret};
use super::files::FileLoader;
use super::interpolation::{ComposeVariables, interpolate};
use super::yaml::{YamlFile, get};
use super::{ReadFile, path};
use crate::model::manifest::ManifestError;
use crate::model::manifest::node::Node;

/// The services of compose files.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ComposeProject {
    /// Services with `build`, in file order.
    pub builds: Vec<Build>,
    /// Services with only `image`: name and image.
    pub image_only: Vec<(String, String)>,
    /// Top-level keys that were not read.
    pub unknown: BTreeSet<String>,
}

/// Reads compose files with their `include` and `extends`; later files override earlier ones.
///
/// `folder` is the name of the platform's folder, which compose uses for default image names.
///
/// # Errors
///
/// A file is missing or invalid, or files include each other in a cycle.
pub fn read(
    files: &[String],
    folder: &str,
    read: &ReadFile<'_>,
) -> Result<ComposeProject, ManifestError> {
    let dir = files.first().map_or(".", |file| path::parent(file));
    let folder = if dir == "." { folder } else { path::last(dir) };
    let mut loader = Loader {
        read,
        files: FileLoader::new(read),
        variables: ComposeVariables::new(),
        secrets: Vec::new(),
        unknown: BTreeSet::new(),
    };
    environment::load(
        &mut loader.variables,
        &[path::join(dir, ".env").unwrap_or_default()],
        read,
    )?;
    let project = loader.name_project(files, folder)?;
    let services = loader.project(files, dir, &mut Vec::new())?;
    let mut composed = ComposeProject {
        unknown: loader.unknown,
        ..ComposeProject::default()
    };
    for (name, service) in services {
        if service.build.is_some() {
            let build = convert::build(name, service, dir, &project, &loader.secrets);
            composed.builds.extend(build);
        } else if let Some(image) = service.image {
            composed.image_only.push((name, image.text));
        }
    }
    Ok(composed)
}

/// Services by name, in file order.
type ComposeServices = Vec<(String, ComposeService)>;

struct Loader<'r> {
    read: &'r ReadFile<'r>,
    files: FileLoader<'r>,
    /// The variables of the files being read.
    variables: ComposeVariables,
    /// The top-level secrets.
    secrets: Vec<(String, BuildSecret)>,
    unknown: BTreeSet<String>,
}

/// A parsed file, and the folder its paths are relative to.
struct ComposeFile<'p> {
    yaml: &'p YamlFile,
    file: &'p str,
    dir: &'p str,
}

impl Loader<'_> {
    /// Sets the name of the project and its variable, and returns it.
    fn name_project(&mut self, files: &[String], folder: &str) -> Result<String, ManifestError> {
        const VARIABLE: &str = "COMPOSE_PROJECT_NAME";
        let mut name = folder.to_owned();
        for file in files {
            let yaml = self.open(file)?;
            let written = match yaml.root()? {
                Some(root) => yaml.text_of(root, "name")?,
                None => None,
            };
            let value = written.map(|written| interpolate(written, &self.variables));
            if let Some(value) = value.filter(|value| !value.is_incomplete()) {
                name = value.text;
            }
        }
        if let Some(value) = self.variables.get(VARIABLE) {
            return Ok(value.text.clone());
        }
        let name = environment::project_name(&name);
        let value = interpolate(&name, &ComposeVariables::new());
        self.variables.insert(VARIABLE.to_owned(), value);
        Ok(name)
    }

    /// Reads the files of one project; `open` lists the files being read, to detect cycles.
    fn project(
        &mut self,
        files: &[String],
        dir: &str,
        open: &mut Vec<String>,
    ) -> Result<ComposeServices, ManifestError> {
        let mut services = ComposeServices::new();
        for file in files {
            let yaml = self.open(file)?;
            let Some(root) = yaml.root()? else { continue };
            let source = ComposeFile {
                yaml: &yaml,
                file,
                dir,
            };
            open.push(file.clone());
            for item in yaml.list_of(root, "include")? {
                for (name, service) in self.included(&source, item, open)? {
                    put(&mut services, name, service);
                }
            }
            open.pop();
            self.unknown.extend(keys::unknown_in_file(root));
            let secrets = secrets::read(&source, root, &self.variables)?;
            self.secrets = merge::merged(secrets, std::mem::take(&mut self.secrets));
            if get(root, "services").is_none() && get(root, "include").is_none() && files.len() == 1
            {
                return Err(yaml.error_with(
                    root,
                    "not a compose file: it has no `services`",
                    Some("pass another file with `--from`"),
                ));
            }
            let Some(own) = get(root, "services") else {
                continue;
            };
            for entry in yaml.mapping(own, "`services`")? {
                if is_reset(&yaml, &entry.value) {
                    services.retain(|(name, _)| *name != entry.key);
                    continue;
                }
                let mut extended = Vec::new();
                let service =
                    self.service(&source, own, &entry.key, &entry.value, &mut extended)?;
                put(&mut services, entry.key.clone(), service);
            }
        }
        Ok(services)
    }

    fn included(
        &mut self,
        source: &ComposeFile<'_>,
        item: &Node,
        open: &mut Vec<String>,
    ) -> Result<ComposeServices, ManifestError> {
        let yaml = source.yaml;
        let short = yaml.text(item, "an item of `include`").ok().flatten();
        let (written, folder, env_files) = match short {
            Some(file) => (vec![file], None, Vec::new()),
            None => (
                yaml.texts_of(item, "path")?,
                yaml.text_of(item, "project_directory")?,
                yaml.texts_of(item, "env_file")?,
            ),
        };
        let mut files = Vec::new();
        for written in written {
            let file = self.path(source, item, written)?;
            if open.contains(&file) {
                let message = format!("`{file}` includes itself");
                return Err(yaml.error(item, message));
            }
            files.push(file);
        }
        let dir = match (folder, files.first()) {
            (Some(folder), _) => self.path(source, item, folder)?,
            (None, Some(file)) => path::parent(file).to_owned(),
            (None, None) => return Ok(ComposeServices::new()),
        };
        let mut environment = Vec::new();
        for written in &env_files {
            environment.push(self.path(source, item, written)?);
        }
        if env_files.is_empty() {
            environment.extend(path::join(&dir, ".env"));
        }
        // The variables of the including file take precedence.
        let outer = self.variables.clone();
        let mut inner = ComposeVariables::new();
        environment::load(&mut inner, &environment, self.read)?;
        inner.extend(outer.clone());
        self.variables = inner;
        let services = self.project(&files, &dir, open);
        self.variables = outer;
        services
    }

    /// Reads a service with its `extends`; `extended` lists the services that extend it, to detect cycles.
    fn service(
        &mut self,
        source: &ComposeFile<'_>,
        siblings: &Node,
        name: &str,
        node: &Node,
        extended: &mut Vec<(String, String)>,
    ) -> Result<ComposeService, ManifestError> {
        let own = service::read(source, node, &self.variables)?;
        let Some(extends) = get(node, "extends") else {
            return Ok(own);
        };
        let yaml = source.yaml;
        extended.push((source.file.to_owned(), name.to_owned()));
        let short = yaml.text(extends, "`extends`").ok().flatten();
        let (base, file) = match short {
            Some(base) => (Some(base), None),
            None => (
                yaml.text_of(extends, "service")?,
                yaml.text_of(extends, "file")?,
            ),
        };
        let Some(base) = base else {
            return Err(yaml.error(extends, "`extends` has no `service`"));
        };
        let file = match file {
            Some(file) => self.path(source, extends, file)?,
            None => source.file.to_owned(),
        };
        if extended.contains(&(file.clone(), base.to_owned())) {
            let message = format!("service `{base}` extends itself");
            return Err(yaml.error(extends, message));
        }
        let no_such = || {
            let message = format!("no service `{base}` in {file} to extend");
            yaml.error(extends, message)
        };
        let inherited = if file == source.file {
            let node = get(siblings, base).ok_or_else(no_such)?;
            self.service(source, siblings, base, node, extended)?
        } else {
            let other = self.open(&file)?;
            let services = other.root()?.and_then(|root| get(root, "services"));
            let services = services.ok_or_else(no_such)?;
            let node = get(services, base).ok_or_else(no_such)?;
            let source = ComposeFile {
                yaml: &other,
                file: &file,
                dir: path::parent(&file),
            };
            self.service(&source, services, base, node, extended)?
        };
        Ok(own.over(inherited))
    }

    fn open(&mut self, file: &str) -> Result<YamlFile, ManifestError> {
        let text = self.files.open(file)?;
        YamlFile::parse(file, &text)
    }

    /// Resolves a path in a file, relative to the platform's folder.
    fn path(
        &self,
        source: &ComposeFile<'_>,
        node: &Node,
        written: &str,
    ) -> Result<String, ManifestError> {
        let text = interpolate(written, &self.variables);
        let error = |message| source.yaml.error(node, message);
        if text.is_incomplete() {
            return Err(error(format!("`{written}` depends on {}", text.cause())));
        }
        path::join(source.dir, &text.text)
            .ok_or_else(|| error(format!("`{written}` is outside the platform's folder")))
    }
}

/// Adds a service, overriding one with the same name.
fn put(services: &mut ComposeServices, name: String, service: ComposeService) {
    match services.iter_mut().find(|(known, _)| *known == name) {
        Some((_, earlier)) => *earlier = service.over(std::mem::take(earlier)),
        None => services.push((name, service)),
    }
}

fn is_reset(yaml: &YamlFile, node: &Node) -> bool {
    yaml.tag(node) == Some("!reset")
}

#[cfg(test)]
mod tests;
