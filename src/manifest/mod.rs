//! `x-platform.yml` to [`Manifest`]: file shapes, validation, placeholders, schema.
//!
//! What is in a [`Manifest`] is valid: names, paths and references are parsed, defaults are merged,
//! and services need each other without a cycle. What is wrong is reported all at once, by a
//! [`ManifestError`] that shows each line.
//!
//! The steps: `yaml` makes a tree of `node`s with their places, `decode` takes it apart
//! key by key, `check` compares services with each other. Only `file` and one function of
//! `check` look at the file system, and nothing here knows the environment, the clock or a client.
//!
//! `crate::lock` reads its file by the same tree, the same decoder and the same reports.

mod check;
pub(crate) mod decode;
mod deploy;
mod discovery;
pub(crate) mod document;
pub(crate) mod error;
pub(crate) mod file;
mod graph;
mod locate;
mod name;
pub(crate) mod node;
mod render;
mod schema;
mod secret_name;
pub(crate) mod select;
mod service;
mod shape;
pub(crate) mod span;
pub(crate) mod suggest;
mod template;
#[cfg(test)]
mod tests;
pub(crate) mod yaml;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use self::deploy::{Deploy, Environment, KustomizeFiles, UnknownEnvironment};
pub use self::discovery::{find, foreign_owner, is_outside};
pub use self::error::{ManifestError, ReportedProblem};
pub use self::file::load;
pub use self::name::{BuilderName, EnvironmentName, InvalidName, ServiceName};
pub use self::render::{MissingInput, Values, WrongPath};
pub use self::schema::schema;
pub use self::secret_name::may_be_secret;
pub use self::select::UnknownServices;
pub use self::service::{
    Builder, BuilderImage, BuilderUser, Docker, Git, Mount, ScriptLine, Scripts, SecretSource,
    Service,
};
pub use self::template::Template;

use self::decode::Places;
use self::decode::context::Context;
pub(crate) use self::decode::quantity::duration;
use self::document::Document;
use self::error::Problem;
use self::node::Kind;
use crate::image::RegistryPrefix;

/// Where xp keeps its own files, beside the manifest, where nothing else is said.
pub const DEFAULT_CACHE_DIR: &str = ".xp";

/// The name of the manifest where none is given.
pub const DEFAULT_NAME: &str = "x-platform.yml";

/// A validated manifest.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// The file; absolute where it was loaded from disk.
    pub file: PathBuf,
    /// The folder of the file, which every `dir` is relative to; absolute, without symbolic links.
    pub folder: PathBuf,
    /// What goes before the names of images; without one nothing is pushed.
    pub registry: Option<RegistryPrefix>,
    /// Where xp keeps its own files, relative to the folder; none for [`DEFAULT_CACHE_DIR`].
    pub cache_dir: Option<PathBuf>,
    /// The builder images.
    pub builders: Builders,
    /// The services.
    pub services: BTreeMap<ServiceName, Service>,
    /// How it is deployed, where it is.
    pub deploy: Option<Deploy>,
    document: Arc<Document>,
    places: BTreeMap<ServiceName, Places>,
}

/// Where builder images come from.
#[derive(Debug, Clone)]
pub struct Builders {
    /// Their folder, relative to the manifest's, without `..`.
    pub dir: PathBuf,
    /// Build arguments for all of them.
    pub args: BTreeMap<String, String>,
}

impl Default for Builders {
    fn default() -> Self {
        Self {
            dir: PathBuf::from("builders"),
            args: BTreeMap::new(),
        }
    }
}

/// Validates a manifest's text, without a look at the file system.
///
/// `file` is how errors call it; its parent becomes [`Manifest::folder`].
///
/// # Errors
///
/// Everything that is wrong with it, at once.
pub fn parse(text: &str, file: &Path) -> Result<Manifest, ManifestError> {
    // A byte order mark is no part of the text, and would shift every column.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let document = Document {
        path: file.display().to_string(),
        text: text.to_owned(),
    };
    let document = Arc::new(document);
    let mut problems = Vec::new();
    let node = yaml::read(text, "manifest", &mut problems);
    let node =
        match node {
            Some(node) if !matches!(node.kind, Kind::Null) => node,
            _ => {
                if problems.is_empty() {
                    let problem = Problem::of_the_file("the manifest is empty");
                    problems.push(problem.help(
                        "it needs `services`, each with `dir`, `git.remote` and `docker.image`",
                    ));
                }
                return Err(ManifestError::new(&document, problems));
            }
        };
    let mut context = Context::new(text, problems);
    let root = decode::root(&mut context, &node);
    check::services(
        &root.services,
        root.registry.as_ref(),
        root.cache_dir.as_deref(),
        &mut context.problems,
    );
    if !context.problems.is_empty() {
        return Err(ManifestError::new(&document, context.problems));
    }
    let mut services = BTreeMap::new();
    let mut places = BTreeMap::new();
    for decoded in root.services {
        places.insert(decoded.service.name.clone(), decoded.places);
        services.insert(decoded.service.name.clone(), decoded.service);
    }
    Ok(Manifest {
        file: file.to_owned(),
        folder: file.parent().unwrap_or(Path::new("")).to_owned(),
        registry: root.registry,
        cache_dir: root.cache_dir,
        builders: root.builders,
        services,
        deploy: root.deploy,
        document,
        places,
    })
}
