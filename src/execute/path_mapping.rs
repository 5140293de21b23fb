//! How the engine accesses this machine's files.

use std::path::{Path, PathBuf};
use std::{fs, io};

use thiserror::Error;

use crate::base::error::{Diagnostic, Exit};
use crate::base::files;
use crate::base::nonce::nonce;
use crate::client::engine::{Engine, EngineError, MountSource, NotMounted, OwnContainer};
use crate::model::layout::Layout;

/// How the engine accesses this machine's files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathMapping {
    /// At the same paths.
    Same,
    /// xp runs in a container of the engine, which sees only the container's mounts, at other paths.
    Mounted(OwnContainer),
    /// No access: files are sent to the engine and copied back. The string is the id of this `cacheDir`.
    Remote(String),
}

/// A path that the engine cannot mount.
#[derive(Debug, Error)]
#[error("the engine cannot mount {path}: xp runs in the container {container}, {why}", path = path.display())]
pub struct UnmountablePath {
    path: PathBuf,
    container: String,
    why: String,
    hint: String,
}

impl PathMapping {
    /// Detects it from the container that xp runs in, else by checking whether the engine finds a file in `folder`,
    /// which must be writable.
    ///
    /// # Errors
    ///
    /// If the engine does not respond.
    pub async fn find(engine: &Engine, folder: &Path) -> Result<Self, EngineError> {
        let own = engine.own_container().await?;
        Ok(match own {
            Some(own) if !engine.is_declared_remote() => Self::Mounted(own),
            _ if engine.sees(folder).await => Self::Same,
            _ => Self::Remote(number(folder).map_err(|(path, error)| {
                EngineError::Unsent(format!("cannot write {}: {error}", path.display()))
            })?),
        })
    }

    /// Returns the mount source for a path of this machine, and whether it is read-only for xp itself.
    ///
    /// # Errors
    ///
    /// If the engine cannot mount it.
    pub fn source(&self, path: &Path) -> Result<(MountSource, bool), UnmountablePath> {
        let Self::Mounted(own) = self else {
            return Ok((MountSource::Path(path.display().to_string()), false));
        };
        // Symlinks of the container resolve differently on the engine's machine.
        let resolved = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        own.source(&resolved)
            .map_err(|reason| unmountable(own, &resolved, reason))
    }

    /// Returns a name for a path that is readable and unique on the engine's machine.
    pub fn shown(&self, path: &Path) -> String {
        if let Self::Remote(number) = self {
            return format!("{number}:{}", path.display());
        }
        match self.source(path) {
            Ok((MountSource::Path(path), _)) => path,
            Ok((MountSource::Volume { name, folder }, _)) => {
                format!("{name}:/{}", folder.unwrap_or_default())
            }
            Ok(_) => path.display().to_string(),
            Err(error) => format!("{}:{}", error.container, path.display()),
        }
    }

    /// Translates a path to the engine's machine; unchanged if it does not exist there.
    pub fn typed(&self, path: &Path) -> PathBuf {
        match self.source(path) {
            Ok((MountSource::Path(path), _)) => path.into(),
            _ => path.to_owned(),
        }
    }
}

/// Returns the id of a `cacheDir`, created on first use. A host name is not unique: machines that share an engine may
/// have the same one, and containers of a CI runner get a new one each time.
fn number(folder: &Path) -> Result<String, (PathBuf, io::Error)> {
    let folder = Layout::new(folder.to_owned()).remote();
    let path = folder.join("number");
    let read = || match fs::read_to_string(&path) {
        Ok(text) if !text.trim().is_empty() => Some(text.trim().to_owned()),
        _ => None,
    };
    if let Some(number) = read() {
        return Ok(number);
    }
    let written = fs::create_dir_all(&folder)
        .and_then(|()| files::write_new(&path, &format!("{}\n", nonce()), false));
    match (read(), written) {
        // Another run may have created it first.
        (Some(number), _) => Ok(number),
        (None, Err(error)) => Err((path, error)),
        (None, Ok(_)) => Err((path, io::ErrorKind::InvalidData.into())),
    }
}

fn unmountable(own: &OwnContainer, path: &Path, reason: NotMounted<'_>) -> UnmountablePath {
    // Use the ID, because names can be reused.
    let container = own.id.chars().take(12).collect();
    let mount_it = format!(
        "mount it into that container: with `docker run -v {path}:{path}`, or for `bin/x-platform` with `XBUILDER_MOUNTS={path}`",
        path = path.display()
    );
    let (why, hint) = match reason {
        NotMounted::InContainer => (
            "whose own files cannot be mounted into other containers".to_owned(),
            mount_it,
        ),
        NotMounted::Here(mount) => (
            format!(
                "where {} is in memory and cannot be mounted into other containers",
                mount.destination.display()
            ),
            mount_it,
        ),
        NotMounted::FolderOfVolume(mount) => (
            format!(
                "where {} is a volume, and this engine can only mount whole volumes",
                mount.destination.display()
            ),
            "mount a folder of the host instead, or use Docker 26 or later".to_owned(),
        ),
    };
    UnmountablePath {
        path: path.to_owned(),
        container,
        why,
        hint,
    }
}

impl Diagnostic for UnmountablePath {
    fn exit(&self) -> Exit {
        Exit::Outside
    }

    fn hints(&self) -> Vec<String> {
        vec![self.hint.clone()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_folder_has_a_stable_id() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let first = number(one.path()).unwrap();
        assert_eq!(number(one.path()).unwrap(), first);
        assert_ne!(number(two.path()).unwrap(), first);
    }
}
