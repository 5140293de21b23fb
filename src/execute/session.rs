//! Interactive builder containers: `xp run` and `xp shell`.
//!
//! A session may last for hours, so it does not hold the lock of `cacheDir`. Its [`SessionLock`] distinguishes
//! its container from leftovers of killed runs.

use std::collections::HashMap;
use std::fs;

use super::builder::{RunningBuilder, begin, remove_mount_points};
use super::session_lock::SessionLock;
use super::state::UnitState;
use super::step_error::{StepError, Stop};
use super::{ExecuteContext, LABEL_SERVICE};
use crate::client::engine::{BuilderContainer, EngineError};
use crate::model::event::Unit;
use crate::model::plan::ContainerStep;

/// The label with the path of the session lock.
pub(super) const LABEL_SESSION: &str = "x-platform.session";

/// An interactive builder container.
pub struct ContainerSession(RunningBuilder);

impl ContainerSession {
    /// Starts the container of a service, unless `stopped` resolves first.
    ///
    /// # Errors
    ///
    /// As for the container of a build, and if `cacheDir` cannot be written.
    pub async fn open(
        context: &ExecuteContext,
        unit: &Unit,
        step: &ContainerStep,
        state: &UnitState,
        stopped: impl Future<Output = Stop>,
    ) -> Result<Self, Stop> {
        let lock = SessionLock::new(&context.layout)?;
        let path_mapping = context.path_mapping().await.map_err(StepError::from)?;
        let labels = HashMap::from([
            (LABEL_SESSION.to_owned(), path_mapping.shown(lock.path())),
            (LABEL_SERVICE.to_owned(), unit.to_string()),
        ]);
        let running = begin(context, unit, step, state, labels, Some(lock), stopped).await?;
        Ok(Self(running))
    }

    pub fn container(&self) -> &BuilderContainer {
        self.0.container()
    }

    /// Ends the container; afterwards, files that another user created in it belong to the caller.
    ///
    /// # Errors
    ///
    /// If results cannot be copied back from a remote engine: then the container is kept, if possible.
    pub async fn end(self, context: &ExecuteContext) -> Result<(), StepError> {
        match self.0.copy_back(context, None).await {
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

/// Removes leftovers of killed sessions on working copies: containers that were not started, and mount points.
///
/// # Errors
///
/// If the engine does not respond.
pub async fn remove_leftovers(context: &ExecuteContext) -> Result<(), EngineError> {
    for entry in fs::read_dir(context.layout.sessions())
        .into_iter()
        .flatten()
        .flatten()
    {
        let path = entry.path();
        // Held until the file is removed, so that no new session takes the name.
        let Some(lock) = SessionLock::take(&path).ok().flatten() else {
            continue;
        };
        let label = context.path_mapping().await?.shown(&path);
        let engine = &context.engine;
        engine.remove_leftovers(LABEL_SESSION, &label).await?;
        remove_mount_points(&lock.mount_points_to_remove(&[]));
    }
    Ok(())
}
