//! Builder containers that a person works in: `xp run` and `xp shell`.
//!
//! A session may last for hours, so it does not hold the lock of `cacheDir`. Its container is told from
//! what a killed run left by a file that its xp holds locked: the system gives the lock up when xp ends,
//! however it ends.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process;

use super::builder::{Running, begin};
use super::state::UnitState;
use super::stop::{StepError, Stop};
use super::{Context, LABEL_SERVICE};
use crate::cache::claim;
use crate::client::engine::{BuilderContainer, Engine, EngineError};
use crate::event::Unit;
use crate::plan::{ContainerStep, Layout};

/// The label with the file that says that the session's xp is alive.
const LABEL_SESSION: &str = "x-platform.session";

/// A container for a person, and what it was told of the commit.
pub struct Session {
    running: Running,
    _mark: Mark,
}

impl Session {
    /// Starts the container of a service, unless `stopped` comes first.
    ///
    /// # Errors
    ///
    /// As for that of a build, and a `cacheDir` that cannot be written.
    pub async fn open(
        context: &Context,
        unit: &Unit,
        step: &ContainerStep,
        state: &UnitState,
        stopped: impl Future<Output = Stop>,
    ) -> Result<Self, Stop> {
        let mark = mark(context)?;
        let labels = HashMap::from([
            (LABEL_SESSION.to_owned(), mark.path.display().to_string()),
            (LABEL_SERVICE.to_owned(), unit.to_string()),
        ]);
        let running = begin(context, step, state, labels, stopped).await?;
        Ok(Self {
            running,
            _mark: mark,
        })
    }

    /// Returns the container.
    pub fn container(&self) -> &BuilderContainer {
        self.running.container()
    }

    /// Ends the container; what another user made in it belongs to the caller afterwards.
    pub async fn end(self) {
        self.running.end().await;
    }
}

/// Removes what sessions left whose xp is gone: one that was killed before its container was started.
///
/// # Errors
///
/// Where the engine does not answer.
pub async fn remove_leftovers(engine: &Engine, layout: &Layout) -> Result<(), EngineError> {
    for entry in fs::read_dir(layout.sessions())
        .into_iter()
        .flatten()
        .flatten()
    {
        let path = entry.path();
        // Held until the file is gone, so that no new session takes the name meanwhile.
        let Some(_mark) = Mark::take(&path).ok().flatten() else {
            continue;
        };
        let label = path.display().to_string();
        engine.remove_leftovers(LABEL_SESSION, &label).await?;
    }
    Ok(())
}

/// A file that is locked as long as a session lasts.
struct Mark {
    path: PathBuf,
    _file: File,
}

impl Mark {
    /// Locks a file; none where another xp has it.
    fn take(path: &Path) -> io::Result<Option<Self>> {
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path)?;
        // One that was removed between the two is nobody's sign of life.
        Ok((file.try_lock().is_ok() && path.exists()).then(|| Self {
            path: path.to_owned(),
            _file: file,
        }))
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        _ = fs::remove_file(&self.path);
    }
}

fn mark(context: &Context) -> Result<Mark, StepError> {
    let folder = context.layout.sessions();
    let failed = |error: io::Error| {
        StepError::plain(format!("{} cannot be written: {error}", folder.display()))
    };
    if !claim(context.layout.root()).map_err(failed)? {
        return Err(super::lock::LockError::Foreign(context.layout.root().to_owned()).into());
    }
    fs::create_dir_all(&folder).map_err(failed)?;
    // Processes of two containers may have the same number.
    for number in 0.. {
        let path = folder.join(format!("{}-{number}", process::id()));
        if let Some(mark) = Mark::take(&path).map_err(failed)? {
            return Ok(mark);
        }
    }
    Err(StepError::plain("there are too many sessions"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_held_by_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("1-0");
        let mark = Mark::take(&path).unwrap().unwrap();
        assert!(Mark::take(&path).unwrap().is_none());
        drop(mark);
        assert!(!path.exists());
        drop(Mark::take(&path).unwrap().unwrap());
    }
}
