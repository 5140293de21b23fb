//! Builder containers that a person works in: `xp run` and `xp shell`.
//!
//! A session may last for hours, so it does not hold the lock of `cacheDir`. Its container is told from
//! what a killed run left by its [`Mark`].

use std::collections::HashMap;
use std::fs;

use super::builder::{Running, begin, remove_mount_points};
use super::mark::Mark;
use super::state::UnitState;
use super::stop::{StepError, Stop};
use super::{Context, LABEL_SERVICE};
use crate::client::engine::{BuilderContainer, EngineError};
use crate::event::Unit;
use crate::plan::ContainerStep;

/// The label with the file that says that the session's xp is alive.
const LABEL_SESSION: &str = "x-platform.session";

/// A container for a person, and what it was told of the commit.
pub struct Session(Running);

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
        let mark = Mark::new(&context.layout)?;
        let reach = context.reach().await.map_err(StepError::from)?;
        let labels = HashMap::from([
            (LABEL_SESSION.to_owned(), reach.shown(mark.path())),
            (LABEL_SERVICE.to_owned(), unit.to_string()),
        ]);
        let running = begin(context, unit, step, state, labels, Some(mark), stopped).await?;
        Ok(Self(running))
    }

    /// Returns the container.
    pub fn container(&self) -> &BuilderContainer {
        self.0.container()
    }

    /// Ends the container; what another user made in it belongs to the caller afterwards.
    ///
    /// # Errors
    ///
    /// What was made on a remote engine cannot be brought back: then the container stays with it, where it
    /// can.
    pub async fn end(self, context: &Context) -> Result<(), StepError> {
        match self.0.bring_back(context, None).await {
            Ok(()) => {
                self.0.end(context).await;
                Ok(())
            }
            Err(error) => match self.0.keep(context).await {
                Some(hint) => Err(error.hint(hint)),
                None => Err(error),
            },
        }
    }
}

/// Removes what is left of containers on working copies whose xp was killed: one that was not started yet, and
/// the folders that were only there to be mounted upon.
///
/// # Errors
///
/// Where the engine does not answer.
pub async fn remove_leftovers(context: &Context) -> Result<(), EngineError> {
    for entry in fs::read_dir(context.layout.sessions())
        .into_iter()
        .flatten()
        .flatten()
    {
        let path = entry.path();
        // Held until the file is gone, so that no new session takes the name meanwhile.
        let Some(mark) = Mark::take(&path).ok().flatten() else {
            continue;
        };
        let label = context.reach().await?.shown(&path);
        let engine = &context.engine;
        engine.remove_leftovers(LABEL_SESSION, &label).await?;
        remove_mount_points(&mark.to_be_removed(&[]));
    }
    Ok(())
}
