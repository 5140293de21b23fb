//! A draft of a manifest, with remarks on its keys.

use super::build::BuildSecret;
use crate::model::image::RegistryPrefix;
use crate::model::manifest::UnknownServices;
use crate::model::manifest::select::choose;

/// A draft of a manifest.
#[derive(Debug, Default)]
pub struct ManifestDraft {
    /// The source files, mentioned in the header.
    pub sources: Vec<String>,
    pub registry: DraftRegistry,
    /// The services, sorted by name.
    pub services: Vec<DraftService>,
    /// The compose files that can run the services; empty if there are none.
    pub compose: Vec<String>,
    /// Items that did not become services.
    pub skipped: Vec<Skipped>,
}

/// Where images are pushed.
#[derive(Debug, Default, PartialEq, Eq)]
pub enum DraftRegistry {
    #[default]
    Unknown,
    /// Found in the sources, not confirmed by the user.
    Suggested(String),
    /// Given by the user.
    Given(RegistryPrefix),
}

/// Something that did not become a service.
#[derive(Debug, PartialEq, Eq)]
pub struct Skipped {
    /// A name or path.
    pub what: String,
    /// The reason.
    pub why: String,
    /// Whether the user should look at it.
    pub todo: bool,
}

/// A draft of a service.
#[derive(Debug, Default)]
pub struct DraftService {
    pub name: String,
    /// `dir`
    pub dir: String,
    /// `git.remote`
    pub remote: String,
    /// `git.reference`
    pub reference: Option<String>,
    /// `git.path`
    pub path: Option<String>,
    /// `git.include`
    pub include: Vec<String>,
    /// `git.submodules`
    pub submodules: bool,
    /// `docker.image`
    pub image: String,
    /// `docker.file`
    pub file: Option<String>,
    /// `docker.context`
    pub context: Option<String>,
    /// `docker.target`
    pub target: Option<String>,
    /// `docker.args`
    pub args: Vec<DraftArgument>,
    /// `docker.secrets`, by id
    pub secrets: Vec<(String, BuildSecret)>,
    /// `docker.ssh`
    pub ssh: bool,
    /// `docker.cache`
    pub cache: bool,
    /// `docker.platforms`
    pub platforms: Vec<String>,
    /// `docker.tags`
    pub tags: Vec<String>,
    /// `needs`
    pub needs: Vec<String>,
    /// The compose services that run its image.
    pub compose_services: Vec<String>,
    /// `dockerBuilder` and `scripts`
    pub scripts: Option<DraftScripts>,
    /// Remarks on keys.
    pub remarks: Vec<Remark>,
}

/// A build argument.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct DraftArgument {
    pub name: String,
    /// The value, if it could be determined.
    pub value: Option<String>,
    /// A comment on it.
    pub remark: Option<String>,
    /// A suggestion for an unknown value.
    pub suggested: Option<String>,
}

/// Scripts and their builder image.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct DraftScripts {
    /// `dockerBuilder.image`
    pub builder: String,
    /// Whether that builder exists; if not, the scripts are commented out.
    pub builder_exists: bool,
    /// `scripts.prepare`
    pub prepare: Vec<String>,
    /// What `prepare` reads and writes, if it is certain.
    pub prepare_files: Option<PhaseFiles>,
    /// `scripts.build`
    pub build: Vec<String>,
    /// What `build` reads and writes, if it is certain.
    pub build_files: Option<PhaseFiles>,
    /// `scripts.test`
    pub test: Vec<String>,
}

/// The files that a phase reads and writes.
#[derive(Debug, PartialEq, Eq)]
pub struct PhaseFiles {
    /// `inputs`
    pub inputs: Vec<String>,
    /// `outputs`
    pub outputs: Vec<String>,
}

/// A remark on a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// The key it is written above.
    pub key: DraftKey,
    /// Whether the user should look at it.
    pub todo: bool,
    pub text: String,
}

/// A key that has remarks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DraftKey {
    /// The service's name.
    Service,
    /// `dir`
    Dir,
    /// `git.remote`
    Remote,
    /// `git.reference`, or its position
    Reference,
    /// `docker.image`
    Image,
    /// `docker.file`, or its position
    File,
    /// `scripts`, or their position
    Scripts,
}

impl ManifestDraft {
    /// Returns the registry found in the sources, unless the user gave one.
    pub fn suggested_registry(&self) -> Option<&str> {
        match &self.registry {
            DraftRegistry::Suggested(prefix) => Some(prefix),
            DraftRegistry::Unknown | DraftRegistry::Given(_) => None,
        }
    }

    /// Checks that each pattern matches a service.
    ///
    /// # Errors
    ///
    /// Lists the patterns without a match.
    pub fn check_patterns(&self, patterns: &[String]) -> Result<(), UnknownServices> {
        let names = self.services.iter().map(|service| service.name.as_str());
        choose(names, patterns).map(drop)
    }
}

impl DraftService {
    /// Returns its dependencies, including the ones referenced in arguments.
    pub fn all_needs(&self) -> Vec<String> {
        let values = self.args.iter().filter_map(|arg| arg.value.as_deref());
        let images = values.filter_map(|value| {
            let name = value.strip_prefix("${{ services.")?;
            name.strip_suffix(".image }}").map(str::to_owned)
        });
        images.chain(self.needs.iter().cloned()).collect()
    }

    /// Adds a remark.
    pub fn remark(&mut self, key: DraftKey, text: impl Into<String>) {
        self.add(key, false, text.into());
    }

    /// Adds a to-do for the user.
    pub fn todo(&mut self, key: DraftKey, text: impl Into<String>) {
        self.add(key, true, text.into());
    }

    fn add(&mut self, key: DraftKey, todo: bool, text: String) {
        let remark = Remark { key, todo, text };
        if !self.remarks.contains(&remark) {
            self.remarks.push(remark);
        }
    }
}
