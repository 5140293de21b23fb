//! Parses and validates `x-platform.yml` into a [`Manifest`]; placeholders and the JSON Schema.
//!
//! A [`Manifest`] is always valid: names, paths and references are parsed, defaults are merged, and the
//! dependency graph has no cycles. All problems are reported at once, in a [`ManifestError`] that shows each line.
//!
//! The steps: `yaml` parses the text into a tree of `node`s with their positions, `decode` validates it key by
//! key, and `check` validates services against each other. Only `file` and one function of `check` read the file
//! system; nothing here uses the environment, the clock or a client.
//!
//! `crate::model::lock` uses the same tree, decoder and error reports for its file.

mod check;
mod clean;
pub(crate) mod decode;
mod deploy;
mod discovery;
pub(crate) mod document;
pub(crate) mod error;
pub(crate) mod file;
mod fleet;
mod graph;
mod locate;
mod name;
pub(crate) mod node;
mod output_path;
mod render;
mod report_pattern;
mod schema;
mod script;
mod secret_name;
pub(crate) mod select;
mod service;
pub(crate) mod setting;
mod shape;
mod sidecar;
mod source;
mod source_path;
pub(crate) mod span;
mod supply;
mod template;
#[cfg(test)]
mod tests;
pub(crate) mod yaml;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use self::clean::{Clean, CleanCache, CleanKeep};
pub use self::deploy::{
    ClusterEnvironment, ComposeEnvironment, Deploy, Environment, KustomizeFiles,
};
pub use self::discovery::{find, foreign_owner, is_outside};
pub use self::error::ManifestError;
pub use self::file::{load, open, salvage};
pub use self::fleet::{Fleet, Fleets, fleet};
pub use self::name::{BuilderName, EnvironmentName, ServiceName, SidecarName};
pub use self::render::{InvalidGitPath, MissingInput, PlaceholderValues};
pub use self::report_pattern::ReportPattern;
pub use self::schema::{schema, schema_with_plugins};
pub use self::script::{CachedPhase, PluginItem, ScriptItem, ScriptLine};
pub use self::secret_name::suggests_secret;
pub use self::select::UnknownServices;
pub use self::service::{
    BaseTracking, Builder, BuilderImage, BuilderUser, Mount, SecretSource, Service,
};
pub use self::sidecar::{ScriptPhase, Sidecar, SidecarImage, SidecarSettings};
pub use self::source::{Git, ScmPlugin, Source};
pub use self::source_path::SourcePath;
pub(crate) use self::span::Span;
pub use self::supply::{SigningKeys, Supply};
pub use self::template::Template;

use self::decode::ServiceSpans;
use self::decode::context::DecodeContext;
pub(crate) use self::decode::quantity::duration;
use self::document::ManifestText;
use self::error::SourceProblem;
use self::node::NodeKind;
use crate::model::image::{Platform, RegistryPrefix};

/// The default cache folder, next to the manifest.
pub const DEFAULT_CACHE_DIR: &str = ".xp";

/// The default file name of the manifest.
pub const DEFAULT_NAME: &str = "x-platform.yml";

/// A validated manifest.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// The path of the file; absolute if it was loaded from disk.
    pub file: PathBuf,
    /// The folder of the file, which every `dir` is relative to; absolute, without symbolic links.
    pub folder: PathBuf,
    /// The prefix of image names; without one, nothing is pushed.
    pub registry: Option<RegistryPrefix>,
    /// The cache folder, relative to `folder`; `None` for [`DEFAULT_CACHE_DIR`].
    pub cache_dir: Option<PathBuf>,
    /// Settings of the builder images.
    pub builders: Builders,
    pub services: BTreeMap<ServiceName, Service>,
    /// The `deploy` section, if any.
    pub deploy: Option<Deploy>,
    /// What `xp clean` keeps.
    pub clean: Clean,
    /// The docker contexts of the engines that build images of some platforms.
    pub engines: BTreeMap<Platform, String>,
    /// The fleets of the `fleet` section.
    pub fleets: Fleets,
    /// What is attached to images, and how they are signed and verified.
    pub supply: Supply,
    document: Arc<ManifestText>,
    spans: BTreeMap<ServiceName, ServiceSpans>,
}

/// Settings of the builder images.
#[derive(Debug, Clone)]
pub struct Builders {
    /// The folder of builder images, relative to the manifest's, without `..`.
    pub dir: PathBuf,
    /// Build arguments of all builder images.
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

/// Parses and validates a manifest's text without reading the file system.
///
/// `file` is the path shown in errors; its parent becomes [`Manifest::folder`].
///
/// # Errors
///
/// All problems of the manifest at once.
pub fn parse(text: &str, file: &Path) -> Result<Manifest, ManifestError> {
    parse_partially(text, file)?.complete()
}

impl Manifest {
    /// Returns an error with problems that were found after the manifest was decoded; `None` if there are none.
    pub(crate) fn rejected(&self, problems: Vec<SourceProblem>) -> Option<ManifestError> {
        (!problems.is_empty()).then(|| ManifestError::new(&self.document, problems))
    }
}

/// A manifest as far as it could be decoded, for finding further problems. Only a complete one is used for anything
/// else.
pub struct PartialManifest {
    manifest: Manifest,
    /// Whether `builders` is valid.
    has_builders: bool,
    problems: Vec<SourceProblem>,
}

impl PartialManifest {
    /// Returns the valid parts.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Returns whether the folder of the builders is known.
    pub fn has_builders(&self) -> bool {
        self.has_builders
    }

    /// Adds a problem.
    pub(crate) fn report(&mut self, problem: SourceProblem) {
        self.problems.push(problem);
    }

    /// Returns the manifest if it has no problems.
    ///
    /// # Errors
    ///
    /// All problems at once.
    pub fn complete(self) -> Result<Manifest, ManifestError> {
        if self.problems.is_empty() {
            Ok(self.manifest)
        } else {
            Err(ManifestError::new(&self.manifest.document, self.problems))
        }
    }
}

/// Parses as much of a manifest as is valid.
///
/// # Errors
///
/// The text is not YAML.
fn parse_partially(text: &str, file: &Path) -> Result<PartialManifest, ManifestError> {
    // A byte order mark is not part of the text and would shift the first column.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let document = ManifestText {
        path: file.display().to_string(),
        text: text.to_owned(),
    };
    let document = Arc::new(document);
    let mut problems = Vec::new();
    let node = yaml::read(text, "manifest", &mut problems);
    let node = match node {
        Some(node) if !matches!(node.kind, NodeKind::Null) => node,
        _ => {
            if problems.is_empty() {
                let problem = SourceProblem::without_span("the manifest is empty");
                problems.push(
                    problem
                        .help("add `services`, each with `dir`, `git.remote` and `docker.image`"),
                );
            }
            return Err(ManifestError::new(&document, problems));
        }
    };
    let mut context = DecodeContext::new(text, problems);
    let root = decode::root(&mut context, &node);
    check::services(
        &root.services,
        root.registry.as_ref(),
        root.cache_dir.as_deref(),
        &mut context.problems,
    );
    let mut services = BTreeMap::new();
    let mut spans = BTreeMap::new();
    for decoded in root.services {
        spans.insert(decoded.service.name.clone(), decoded.spans);
        services.insert(decoded.service.name.clone(), decoded.service);
    }
    let manifest = Manifest {
        file: file.to_owned(),
        folder: file.parent().unwrap_or(Path::new("")).to_owned(),
        registry: root.registry,
        cache_dir: root.cache_dir,
        builders: root.builders.clone().unwrap_or_default(),
        services,
        deploy: root.deploy,
        clean: root.clean,
        engines: root.engines,
        fleets: root.fleets,
        supply: root.supply,
        document: Arc::clone(&document),
        spans,
    };
    Ok(PartialManifest {
        manifest,
        has_builders: root.builders.is_some(),
        problems: context.problems,
    })
}
