//! Interactive builder containers: `xp run` and `xp shell`.
//!
//! A session may last for hours, so it does not hold the lock of `cacheDir`. Its [`SessionLock`] distinguishes
//! its container from leftovers of killed runs.

use std::collections::HashMap;
use std::fs;

use futures_util::FutureExt as _;

use super::builder::{ContainerSetup, RunningBuilder, begin, remove_mount_points};
use super::session_lock::SessionLock;
use super::sidecars::Sidecars;
use super::state::UnitState;
use super::step_error::{StepError, Stop};
use super::{ExecuteContext, LABEL_SERVICE};
use crate::client::engine::{BuilderContainer, EngineError};
use crate::model::event::Unit;
use crate::model::plan::{ContainerStep, SidecarsStep};

/// The label with the path of the session lock.
pub(super) const LABEL_SESSION: &str = "x-platform.session";

/// An interactive builder container.
pub struct ContainerSession {
    builder: RunningBuilder,
    sidecars: Option<Sidecars>,
}

impl ContainerSession {
    /// Starts the container of a service and its sidecars, unless `stopped` resolves first.
    ///
    /// # Errors
    ///
    /// As for the container of a build, and if `cacheDir` cannot be written.
    pub async fn open(
        context: &ExecuteContext,
        unit: &Unit,
        step: &ContainerStep,
        sidecars_step: Option<&SidecarsStep>,
        state: &UnitState,
        stopped: impl Future<Output = Stop>,
    ) -> Result<Self, Stop> {
        let lock = SessionLock::new(&context.layout)?;
        let path_mapping = context.path_mapping().await.map_err(StepError::from)?;
        let labels = HashMap::from([
            (LABEL_SESSION.to_owned(), path_mapping.shown(lock.path())),
            (LABEL_SERVICE.to_owned(), unit.to_string()),
        ]);
        let mut stopped = std::pin::pin!(stopped);
        let mut sidecars = match sidecars_step {
            Some(_) => Some(Sidecars::open(context, unit, labels.clone()).await?),
            None => None,
        };
        let setup = ContainerSetup {
            labels,
            lock: Some(lock),
            shared: None,
            network: sidecars.as_ref().map(Sidecars::network),
        };
        let builder = match begin(context, unit, step, state, setup, stopped.as_mut()).await {
            Ok(builder) => builder,
            Err(stop) => {
                if let Some(sidecars) = sidecars {
                    sidecars.end(context).await;
                }
                return Err(stop);
            }
        };
        let started = match (sidecars_step, &mut sidecars) {
            (Some(step), Some(sidecars)) => sidecars.start(context, step, state, stopped).await,
            _ => Ok(()),
        };
        let session = Self { builder, sidecars };
        match started {
            Ok(()) => Ok(session),
            Err(stop) => {
                session.close(context, true).await;
                Err(stop)
            }
        }
    }

    /// Returns the error of a sidecar that has ended by itself.
    pub fn ended_sidecar(&self) -> Option<StepError> {
        self.sidecars.as_ref()?.exited().now_or_never()
    }

    /// Ends the containers; returns a hint about a builder that is kept.
    async fn close(self, context: &ExecuteContext, is_complete: bool) -> Option<String> {
        let Self {
            builder,
            mut sidecars,
        } = self;
        if let Some(sidecars) = &mut sidecars {
            sidecars.stop(context).await;
        }
        let hint = if is_complete {
            builder.end(context).await;
            None
        } else {
            builder.keep(context).await
        };
        if let Some(sidecars) = sidecars {
            sidecars.end(context).await;
        }
        hint
    }

    pub fn container(&self) -> &BuilderContainer {
        self.builder.container()
    }

    /// Ends the container; afterwards, files that another user created in it belong to the caller.
    ///
    /// # Errors
    ///
    /// If results cannot be copied back from a remote engine: then the container is kept, if possible.
    pub async fn end(self, context: &ExecuteContext) -> Result<(), StepError> {
        let copied = self.builder.copy_back(context).await;
        let hint = self.close(context, copied.is_ok()).await;
        copied.map_err(|error| match hint {
            Some(hint) => error.hint(hint),
            None => error,
        })
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
