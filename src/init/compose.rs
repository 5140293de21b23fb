//! `compose.yaml`: the services that Docker Compose would build.

mod merge;
mod service;

use std::collections::BTreeMap;

use self::merge::Partial;
pub(super) use self::service::known_image;
use super::build::{Build, Context};
use super::files::Files;
use super::interpolate::environment_file;
use super::yaml::{YamlFile, get};
use super::{Read, path};
use crate::manifest::ManifestError;
use crate::manifest::node::Node;

/// What compose files say.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Composed {
    /// What is built, in the order of the files.
    pub builds: Vec<Build>,
    /// Services that are made of an image of somebody else: name and image.
    pub others: Vec<(String, String)>,
}

/// Reads compose files, the later ones of which override the earlier, with what they include and extend.
///
/// # Errors
///
/// A file that is missing, no YAML, or of another shape, and files that include each other in a circle.
pub fn read(files: &[String], read: &Read<'_>) -> Result<Composed, ManifestError> {
    let dir = files.first().map_or(".", |file| path::parent(file));
    let env_file = path::join(dir, ".env").unwrap_or_default();
    let values = read(&env_file)?
        .map(|text| environment_file(&text))
        .unwrap_or_default();
    let mut loader = Loader {
        files: Files::new(read),
        values,
    };
    let services = loader.project(files, dir, &mut Vec::new())?;
    let mut composed = Composed::default();
    for (name, service) in services {
        let file = service.file.clone();
        match (service.build, service.image) {
            (Some(build), image) => composed.builds.push(Build {
                name,
                file,
                image: image.map(|image| image.text),
                context: build.context.unwrap_or(Context::Folder(dir.to_owned())),
                dockerfile: build.dockerfile,
                target: build.target,
                args: build.args,
                needs: build.needs,
                todos: build.todos,
            }),
            (None, Some(image)) => composed.others.push((name, image.text)),
            (None, None) => {}
        }
    }
    Ok(composed)
}

/// Services by name, in the order of the files.
type Services = Vec<(String, Partial)>;

struct Loader<'r> {
    files: Files<'r>,
    /// The values of variables.
    values: BTreeMap<String, String>,
}

/// Where a file is, and what paths in it start from.
struct Place<'p> {
    yaml: &'p YamlFile,
    file: &'p str,
    dir: &'p str,
}

impl Loader<'_> {
    /// Reads the files of one project; `open` are the files that are being read.
    fn project(
        &mut self,
        files: &[String],
        dir: &str,
        open: &mut Vec<String>,
    ) -> Result<Services, ManifestError> {
        let mut services = Services::new();
        for file in files {
            let yaml = self.open(file)?;
            let Some(root) = yaml.root()? else { continue };
            let place = Place {
                yaml: &yaml,
                file,
                dir,
            };
            open.push(file.clone());
            for item in yaml.list_of(root, "include")? {
                for (name, service) in self.included(&place, item, open)? {
                    put(&mut services, name, service);
                }
            }
            open.pop();
            if get(root, "services").is_none() && get(root, "include").is_none() && files.len() == 1
            {
                return Err(yaml.error_with(
                    root,
                    "this is no compose file: it has no `services`",
                    Some("name another file by `--from`"),
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
                let service = self.service(&place, own, &entry.key, &entry.value, &mut extended)?;
                put(&mut services, entry.key.clone(), service);
            }
        }
        Ok(services)
    }

    fn included(
        &mut self,
        place: &Place<'_>,
        item: &Node,
        open: &mut Vec<String>,
    ) -> Result<Services, ManifestError> {
        let yaml = place.yaml;
        let short = yaml.text(item, "an item of `include`").ok().flatten();
        let (written, folder) = match short {
            Some(file) => (vec![file], None),
            None => (
                yaml.texts_of(item, "path")?,
                yaml.text_of(item, "project_directory")?,
            ),
        };
        let mut files = Vec::new();
        for written in written {
            let file = self.path(place, item, written)?;
            if open.contains(&file) {
                let message = format!("`{file}` includes itself");
                return Err(yaml.error(item, message));
            }
            files.push(file);
        }
        let dir = match (folder, files.first()) {
            (Some(folder), _) => self.path(place, item, folder)?,
            (None, Some(file)) => path::parent(file).to_owned(),
            (None, None) => return Ok(Services::new()),
        };
        self.project(&files, &dir, open)
    }

    /// Reads a service with those that it extends; `extended` are those that extend it.
    fn service(
        &mut self,
        place: &Place<'_>,
        siblings: &Node,
        name: &str,
        node: &Node,
        extended: &mut Vec<(String, String)>,
    ) -> Result<Partial, ManifestError> {
        let own = service::read(place, node, &self.values)?;
        let Some(extends) = get(node, "extends") else {
            return Ok(own);
        };
        let yaml = place.yaml;
        extended.push((place.file.to_owned(), name.to_owned()));
        let short = yaml.text(extends, "`extends`").ok().flatten();
        let (base, file) = match short {
            Some(base) => (Some(base), None),
            None => (
                yaml.text_of(extends, "service")?,
                yaml.text_of(extends, "file")?,
            ),
        };
        let Some(base) = base else {
            return Err(yaml.error(extends, "`extends` names no `service`"));
        };
        let file = match file {
            Some(file) => self.path(place, extends, file)?,
            None => place.file.to_owned(),
        };
        if extended.contains(&(file.clone(), base.to_owned())) {
            let message = format!("service `{base}` extends itself");
            return Err(yaml.error(extends, message));
        }
        let no_such = || {
            let message = format!("there is no service `{base}` in {file} to extend");
            yaml.error(extends, message)
        };
        let inherited = if file == place.file {
            let node = get(siblings, base).ok_or_else(no_such)?;
            self.service(place, siblings, base, node, extended)?
        } else {
            let other = self.open(&file)?;
            let services = other.root()?.and_then(|root| get(root, "services"));
            let services = services.ok_or_else(no_such)?;
            let node = get(services, base).ok_or_else(no_such)?;
            let place = Place {
                yaml: &other,
                file: &file,
                dir: path::parent(&file),
            };
            self.service(&place, services, base, node, extended)?
        };
        Ok(own.over(inherited))
    }

    fn open(&mut self, file: &str) -> Result<YamlFile, ManifestError> {
        let text = self.files.open(file)?;
        YamlFile::parse(file, &text)
    }

    /// Returns a path that stands in a file, from the platform's folder on.
    fn path(&self, place: &Place<'_>, node: &Node, written: &str) -> Result<String, ManifestError> {
        let text = super::interpolate::interpolate(written, &self.values);
        let error = |message| place.yaml.error(node, message);
        if text.is_incomplete() {
            return Err(error(format!(
                "`{written}` has a variable without a value in `.env`"
            )));
        }
        path::join(place.dir, &text.text)
            .ok_or_else(|| error(format!("`{written}` leads out of the platform's folder")))
    }
}

/// Adds a service, over one of the same name.
fn put(services: &mut Services, name: String, service: Partial) {
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
