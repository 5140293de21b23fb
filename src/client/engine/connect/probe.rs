//! Detects whether the engine can access the files of this machine.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use bollard::models::{ContainerCreateBody, HostConfig, Mount, MountType};

use crate::base::nonce::nonce;
use crate::client::engine::{Engine, EngineError, FileAccess};

/// The prefixes of the names of probes, before and after they are locked.
const UNLOCKED: &str = "unseen-";
const LOCKED: &str = "seen-";

/// A file for the engine to find, removed on drop. It is locked, so that files of killed processes can be recognized.
struct Probe {
    path: PathBuf,
    _lock: File,
}

impl Probe {
    /// Creates a probe in a folder, and removes probes of killed processes.
    fn create(folder: &Path) -> Option<Self> {
        for entry in fs::read_dir(folder).ok()?.flatten() {
            let is_probe = entry.file_name().to_string_lossy().starts_with(LOCKED);
            if is_probe && File::open(entry.path()).is_ok_and(|file| file.try_lock().is_ok()) {
                _ = fs::remove_file(entry.path());
            }
        }
        let name = nonce();
        let unlocked = folder.join(format!("{UNLOCKED}{name}"));
        let path = folder.join(format!("{LOCKED}{name}"));
        let lock = File::create_new(&unlocked).ok()?;
        let renamed = match lock.try_lock() {
            Ok(()) => fs::rename(&unlocked, &path),
            // A file system without locks.
            Err(_) => Err(std::io::ErrorKind::Unsupported.into()),
        };
        match renamed {
            Ok(()) => Some(Self { path, _lock: lock }),
            Err(_) => {
                _ = fs::remove_file(&unlocked);
                None
            }
        }
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        _ = fs::remove_file(&self.path);
    }
}

impl Engine {
    /// Returns whether the engine sees a folder of this machine, which must exist. Sends one request, which leaves
    /// nothing behind.
    ///
    /// The request is to create a container from a nonexistent image that mounts a new file. The error shows whether
    /// the engine found the file.
    pub async fn sees(&self, folder: &Path) -> bool {
        let assumed = !self.endpoint.is_remote();
        match self.sees {
            FileAccess::Shared => return true,
            FileAccess::Remote => return false,
            // Podman checks the image first.
            FileAccess::Unknown if self.is_podman => return assumed,
            FileAccess::Unknown => {}
        }
        let Some(probe) = Probe::create(folder) else {
            return assumed;
        };
        let mount = Mount {
            typ: Some(MountType::BIND),
            source: Some(probe.path.display().to_string()),
            target: Some("/seen".to_owned()),
            read_only: Some(true),
            ..Default::default()
        };
        let body = ContainerCreateBody {
            image: Some(format!("x-platform-seen-{}:none", nonce())),
            host_config: Some(HostConfig {
                mounts: Some(vec![mount]),
                ..Default::default()
            }),
            ..Default::default()
        };
        let options = None::<bollard::query_parameters::CreateContainerOptions>;
        let created = self.docker.create_container(options, body).await;
        drop(probe);
        match created.map_err(|error| EngineError::new("find a file", error)) {
            Err(EngineError::Refused {
                status: Some(404), ..
            }) => true,
            Err(EngineError::Refused { message, .. }) if message.contains("does not exist") => {
                false
            }
            _ => assumed,
        }
    }

    /// Returns whether the user declared that the engine does not see this machine.
    pub fn is_declared_remote(&self) -> bool {
        self.sees == FileAccess::Remote
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_probes_of_killed_processes_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("seen-left"), "").unwrap();
        fs::write(folder.path().join("notes"), "").unwrap();
        let one = Probe::create(folder.path()).unwrap();
        let other = Probe::create(folder.path()).unwrap();
        assert!(one.path.exists() && other.path.exists());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
        drop((one, other));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
