//! Paths of xp's own files below `cacheDir`.

use std::path::{Path, PathBuf};

use sha1::{Digest as _, Sha1};

use crate::model::image::{Digest, ImageRepository};
use crate::model::manifest::{EnvironmentName, ServiceName};
use crate::model::source::GitUrl;

/// The files and folders below `cacheDir`. xp does not write anywhere else, except to working copies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// Returns the layout below `root`, which must be an absolute path.
    pub fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// Returns `cacheDir` itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns the file that a running xp locks.
    pub fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }

    /// Returns the folder of a service's export, a clean checkout of its commit.
    pub fn export(&self, service: &ServiceName) -> PathBuf {
        self.root.join("build").join(service.to_string())
    }

    /// Returns the git directory of a service's export, which the builder sees as `.git`.
    pub fn git_dir(&self, service: &ServiceName) -> PathBuf {
        self.root.join("git").join(service.to_string())
    }

    /// Returns the folder in which the phases of a service with `inputs` run.
    pub fn stage(&self, service: &ServiceName) -> PathBuf {
        self.root.join("stage").join(service.to_string())
    }

    /// Returns the folders that contain a folder for each service.
    pub fn folders_of_services(&self) -> [PathBuf; 4] {
        ["build", "git", "cache", "stage"].map(|name| self.root.join(name))
    }

    /// Returns the folder for clones until they are complete and moved into place.
    pub fn clones(&self) -> PathBuf {
        self.root.join("clone")
    }

    /// Returns the folder with cached history lookups: which commit last touched which paths.
    pub fn history(&self) -> PathBuf {
        self.root.join("history")
    }

    /// Returns the file with the last responses of remotes and registries.
    pub fn prefetch_state(&self) -> PathBuf {
        self.root.join("asked.json")
    }

    /// Returns the folder with the object stores of submodules, one repository each.
    pub fn modules(&self) -> PathBuf {
        self.root.join("modules")
    }

    /// Returns the folder with Git LFS files.
    pub fn lfs(&self) -> PathBuf {
        self.root.join("lfs")
    }

    /// Returns the folder that keeps a cache path of a service's builder between builds.
    pub fn cache(&self, service: &ServiceName, path: &str) -> PathBuf {
        let last = path
            .rsplit('/')
            .find(|part| !part.is_empty())
            .unwrap_or("root");
        let hash = short_hash(path);
        let readable: String = last
            .chars()
            .map(|c| {
                if c.is_ascii_alphanumeric() || "_-.".contains(c) {
                    c
                } else {
                    '-'
                }
            })
            .collect();
        self.root
            .join("cache")
            .join(service.to_string())
            .join(format!("{}-{hash}", readable.trim_start_matches('.')))
    }

    /// Returns the folder with the cached labels of images.
    pub fn descriptions(&self) -> PathBuf {
        self.root.join("labels")
    }

    /// Returns the file with the cached labels of an image.
    pub fn labels(&self, image: &Digest) -> PathBuf {
        let name = image.as_str().replace(':', "-");
        self.descriptions().join(format!("{name}.json"))
    }

    /// Returns the file with the labels and ages of a repository's images.
    pub fn configurations(&self, repository: &ImageRepository) -> PathBuf {
        let hash = short_hash(&repository.to_string());
        self.root
            .join("labels")
            .join("repositories")
            .join(format!("{hash}.json"))
    }

    /// Returns the folder with a file for each container that uses a working copy, such as that of `xp shell`.
    pub fn sessions(&self) -> PathBuf {
        self.root.join("sessions")
    }

    /// Returns the folder of a deploy environment: the generated overlay and a copy of its record.
    pub fn environment(&self, name: &EnvironmentName) -> PathBuf {
        self.root.join("deploy").join(name.as_str())
    }

    /// Returns the clone of a repository with kustomize files.
    pub fn kustomize_clone(&self, remote: &GitUrl) -> PathBuf {
        let hash = short_hash(remote.stripped().expose());
        self.root.join("kustomize").join(hash)
    }

    /// Returns the folder with the state of volumes on remote engines.
    pub fn remote(&self) -> PathBuf {
        self.root.join("remote")
    }

    /// Returns the folder with the socket of `kubectl proxy`.
    pub fn kubectl(&self) -> PathBuf {
        self.root.join("kubectl")
    }

    /// Returns the folder with images while plugins read them.
    pub fn sboms(&self) -> PathBuf {
        self.root.join("sbom")
    }

    /// Returns the folder with a service's image while a plugin reads it.
    pub fn sbom(&self, unit: &str) -> PathBuf {
        self.sboms().join(unit)
    }

    /// Returns the file that exists while a run executes steps.
    pub fn running(&self) -> PathBuf {
        self.root.join("running")
    }

    /// Returns the folder with the results of phases.
    pub fn steps(&self) -> PathBuf {
        self.root.join("steps")
    }

    /// Returns the file with what `xp clean` must remember.
    pub fn clean_state(&self) -> PathBuf {
        self.root.join("clean.json")
    }

    /// Returns the folder of all runs' logs.
    pub fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }
}

/// Returns the first eight digits of the text's SHA-1.
fn short_hash(text: &str) -> String {
    let mut hash = hex::encode(Sha1::digest(text));
    hash.truncate(8);
    hash
}
