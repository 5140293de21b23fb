//! What a manifest says of deploying: the files of Kubernetes, and the environments.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::name::{EnvironmentName, ServiceName};
use super::suggest;
use crate::error::{Diagnostic, Exit};
use crate::source::{GitReference, GitUrl};

/// How long a rollout may take where nothing else is said.
pub const DEFAULT_ROLLOUT: Duration = Duration::from_secs(5 * 60);

/// How the product comes to a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deploy {
    /// Where the kustomize files are.
    pub files: KustomizeFiles,
    /// What the kustomize files call the images of services, where that is not `docker.image`.
    pub images: BTreeMap<ServiceName, String>,
    /// The environments.
    pub environments: BTreeMap<EnvironmentName, Environment>,
}

/// Where kustomize files are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KustomizeFiles {
    /// A folder, relative to the manifest's.
    Folder(PathBuf),
    /// A repository.
    Git {
        /// The remote.
        remote: GitUrl,
        /// Which commit.
        reference: GitReference,
        /// A folder of it; `.` for the whole.
        path: PathBuf,
    },
}

/// A place in a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Environment {
    /// Its name.
    pub name: EnvironmentName,
    /// The folder of its overlay, relative to the kustomize files.
    pub overlay: PathBuf,
    /// The context of the kubeconfig; no other is ever used.
    pub context: String,
    /// The namespace; objects of others are refused.
    pub namespace: String,
    /// How long the rollout may take.
    pub timeout: Duration,
}

/// An environment that the manifest does not name.
#[derive(Debug, thiserror::Error)]
#[error("the manifest has no environment `{name}`")]
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
    /// There is none of that name.
    pub fn environment(&self, name: &str) -> Result<&Environment, UnknownEnvironment> {
        let mut environments = self.environments.values();
        let found = environments.find(|it| it.name.as_str() == name);
        found.ok_or_else(|| {
            let names = self.environments.keys().map(EnvironmentName::as_str);
            UnknownEnvironment {
                name: name.to_owned(),
                hint: suggest::hint(name, "the environments", names),
            }
        })
    }
}
