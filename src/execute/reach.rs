//! How the engine sees the files of this machine.

use std::path::{Path, PathBuf};
use std::{fs, io};

use thiserror::Error;

use crate::client::engine::{Engine, EngineError, NotMounted, OwnContainer, Source, nonce};
use crate::error::{Diagnostic, Exit};
use crate::files;
use crate::plan::Layout;

/// How the engine sees the files of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// As xp does: by the same paths.
    Same,
    /// xp runs in a container of the engine's, which knows of its files those that are mounted, by other
    /// paths.
    Mounted(OwnContainer),
    /// Not at all: files are sent to the engine and brought back, from and to the `cacheDir` with that number.
    Remote(String),
}

/// Something is to be mounted that the engine cannot reach.
#[derive(Debug, Error)]
#[error("the engine cannot mount {path}: xp runs in the container {container}, {why}", path = path.display())]
pub struct Unreached {
    path: PathBuf,
    container: String,
    why: String,
    hint: String,
}

impl Reach {
    /// Finds out: by the container that xp runs in, else by showing the engine a file in `folder`, which
    /// xp may write to.
    ///
    /// # Errors
    ///
    /// Where the engine does not answer.
    pub async fn find(engine: &Engine, folder: &Path) -> Result<Self, EngineError> {
        let own = engine.own_container().await?;
        Ok(match own {
            Some(own) if !engine.is_said_to_be_remote() => Self::Mounted(own),
            _ if engine.sees(folder).await => Self::Same,
            _ => Self::Remote(number(folder).map_err(|(path, error)| {
                EngineError::Unsent(format!("{} cannot be written: {error}", path.display()))
            })?),
        })
    }

    /// Returns what the engine is to mount where a container is to have a file or folder of this machine,
    /// and whether xp itself may only read it.
    ///
    /// # Errors
    ///
    /// What the engine cannot reach.
    pub fn source(&self, path: &Path) -> Result<(Source, bool), Unreached> {
        let Self::Mounted(own) = self else {
            return Ok((Source::Path(path.display().to_string()), false));
        };
        // Links of the container lead elsewhere on the engine's machine.
        let resolved = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        own.source(&resolved)
            .map_err(|reason| unreached(own, &resolved, reason))
    }

    /// Returns a path as a person finds it on the engine's machine, and as nothing else is called there.
    pub fn shown(&self, path: &Path) -> String {
        if let Self::Remote(number) = self {
            return format!("{number}:{}", path.display());
        }
        match self.source(path) {
            Ok((Source::Path(path), _)) => path,
            Ok((Source::Volume { name, folder }, _)) => {
                format!("{name}:/{}", folder.unwrap_or_default())
            }
            Ok(_) => path.display().to_string(),
            Err(error) => format!("{}:{}", error.container, path.display()),
        }
    }

    /// Returns a path as it is typed on the engine's machine; where it has none there, as it is typed here.
    pub fn typed(&self, path: &Path) -> PathBuf {
        match self.source(path) {
            Ok((Source::Path(path), _)) => path.into(),
            _ => path.to_owned(),
        }
    }
}

/// Returns the number of a `cacheDir`, made when it is asked for first: machines that share an engine may have
/// one name, and the containers of a runner have a new one each time.
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
        // Another run may have been faster.
        (Some(number), _) => Ok(number),
        (None, Err(error)) => Err((path, error)),
        (None, Ok(_)) => Err((path, io::ErrorKind::InvalidData.into())),
    }
}

fn unreached(own: &OwnContainer, path: &Path, reason: NotMounted<'_>) -> Unreached {
    // A name may be that of another container tomorrow.
    let container = own.id.chars().take(12).collect();
    let again = format!(
        "mount it into that container: with `docker run -v {path}:{path}`, or for `bin/x-platform` with `XBUILDER_MOUNTS={path}`",
        path = path.display()
    );
    let (why, hint) = match reason {
        NotMounted::InContainer => (
            "whose own files no other container can have".to_owned(),
            again,
        ),
        NotMounted::Here(mount) => (
            format!(
                "where {} is in memory, which no other container can have",
                mount.destination.display()
            ),
            again,
        ),
        NotMounted::FolderOfVolume(mount) => (
            format!(
                "where {} is a volume, and this engine mounts volumes whole",
                mount.destination.display()
            ),
            "mount a folder of the machine instead, or use Docker 26 or later".to_owned(),
        ),
    };
    Unreached {
        path: path.to_owned(),
        container,
        why,
        hint,
    }
}

impl Diagnostic for Unreached {
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
    fn two_folders_have_two_numbers_which_stay() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let first = number(one.path()).unwrap();
        assert_eq!(number(one.path()).unwrap(), first);
        assert_ne!(number(two.path()).unwrap(), first);
    }
}
