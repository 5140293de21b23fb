//! The `deploy` section of a manifest: environments, and the files that describe them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::name::{EnvironmentName, ServiceName};
use crate::base::error::{Diagnostic, Exit};
use crate::base::suggest;
use crate::model::source::{GitReference, GitUrl};

/// The default rollout timeout.
pub const DEFAULT_ROLLOUT: Duration = Duration::from_secs(5 * 60);

/// How the services are deployed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deploy {
    /// Image names in the kustomize or compose files that differ from `docker.image`.
    pub images: BTreeMap<ServiceName, String>,
    pub environments: BTreeMap<EnvironmentName, Environment>,
}

/// The location of the kustomize files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KustomizeFiles {
    /// A folder, relative to the manifest's.
    Folder(PathBuf),
    /// A repository.
    Git {
        remote: GitUrl,
        /// The branch, tag or commit.
        reference: GitReference,
        /// The folder in the repository; `.` for its root.
        path: PathBuf,
    },
}

/// What is deployed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Environment {
    /// A namespace of a cluster.
    Cluster(ClusterEnvironment),
    /// A compose project in the engine.
    Compose(ComposeEnvironment),
}

/// A namespace of a cluster that is deployed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterEnvironment {
    pub name: EnvironmentName,
    /// Where the kustomize files are.
    pub files: KustomizeFiles,
    /// The folder of its overlay, relative to the kustomize files.
    pub overlay: PathBuf,
    /// The kubeconfig context; no other is ever used.
    pub context: String,
    /// The namespace; objects in other namespaces are rejected.
    pub namespace: String,
    /// The rollout timeout.
    pub timeout: Duration,
    /// Whether only images that verify are deployed.
    pub verify: bool,
}

/// A compose project that is started in the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComposeEnvironment {
    pub name: EnvironmentName,
    /// The compose files, relative to the manifest's folder; later ones override earlier ones.
    pub files: Vec<PathBuf>,
    /// The project's name, if it is not compose's default.
    pub project: Option<String>,
    /// The profiles to enable.
    pub profiles: Vec<String>,
    /// The compose services that run a service's image, where names do not tell; empty if none does.
    pub services: BTreeMap<ServiceName, Vec<String>>,
    /// How long containers may take to be ready.
    pub timeout: Duration,
    /// Whether only images that verify are deployed.
    pub verify: bool,
}

impl Environment {
    pub fn name(&self) -> &EnvironmentName {
        match self {
            Self::Cluster(environment) => &environment.name,
            Self::Compose(environment) => &environment.name,
        }
    }
}

impl ComposeEnvironment {
    /// Returns the compose files for display.
    pub fn shown(&self) -> String {
        let files: Vec<String> = self
            .files
            .iter()
            .map(|file| file.display().to_string())
            .collect();
        files.join(", ")
    }
}

/// An environment that is not in the manifest.
#[derive(Debug, thiserror::Error)]
#[error("unknown environment `{name}`")]
pub struct UnknownEnvironment {
    name: String,
    hint: Option<String>,
}

impl Diagnostic for UnknownEnvironment {
    fn exit(&self) -> Exit {
        Exit::Usage
    }

    fn hints(&self) -> Vec<String> {
        self.hint.iter().cloned().collect()
    }
}

impl Deploy {
    /// Returns an environment by its name.
    ///
    /// # Errors
    ///
    /// The environment does not exist.
    pub fn environment(&self, name: &str) -> Result<&Environment, UnknownEnvironment> {
        let mut environments = self.environments.values();
        let found = environments.find(|it| it.name().as_str() == name);
        found.ok_or_else(|| {
            let names = self.environments.keys().map(EnvironmentName::as_str);
            UnknownEnvironment {
                name: name.to_owned(),
                hint: suggest::hint(name, "known environments", names),
            }
        })
    }
}
