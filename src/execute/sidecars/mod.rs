//! Sidecars: the containers beside the scripts of a unit, in a network of their own.
//!
//! They join the process namespace of a holder, and end with it: when the scripts end, and when xp is killed.

mod container;
mod readiness;

use std::collections::HashMap;

use futures_util::future::{join_all, select_all, try_join_all};

use super::ExecuteContext;
use super::state::UnitState;
use super::step_error::{StepError, Stop};
use crate::base::nonce::nonce;
use crate::client::engine::{Holder, Network};
use crate::model::event::Unit;
use crate::model::plan::SidecarsStep;
use container::RunningSidecar;

/// How long the other containers have to end after a script failed, so that the cause is known.
const GRACE: std::time::Duration = std::time::Duration::from_millis(300);

/// The network of a unit's scripts, and the sidecars in it.
pub struct Sidecars {
    unit: Unit,
    labels: HashMap<String, String>,
    network: Network,
    holder: Option<Holder>,
    running: Vec<RunningSidecar>,
}

impl Sidecars {
    /// Creates the network, without any sidecar.
    ///
    /// # Errors
    ///
    /// If the engine rejects the request.
    pub async fn open(
        context: &ExecuteContext,
        unit: &Unit,
        labels: HashMap<String, String>,
    ) -> Result<Self, StepError> {
        if let Some((why, help)) = context.engine.no_sidecars_reason() {
            return Err(StepError::plain(why).hint(help));
        }
        let network = Network::create(&context.engine, format!("xp-{}", nonce()), &labels).await?;
        Ok(Self {
            unit: unit.clone(),
            labels,
            network,
            holder: None,
            running: Vec::new(),
        })
    }

    /// Returns the network, which the builder joins.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Starts the containers of a step, and waits until all are ready or `stopped` resolves.
    ///
    /// # Errors
    ///
    /// If one cannot be started, ends, or is not ready in time. Those that run are left to [`Sidecars::end`].
    pub async fn start(
        &mut self,
        context: &ExecuteContext,
        step: &SidecarsStep,
        state: &UnitState,
        stopped: impl Future<Output = Stop>,
    ) -> Result<(), Stop> {
        let before = self.running.len();
        // Not canceled in between: a created container must be started or removed.
        self.start_containers(context, step, state).await?;
        let new = &self.running[before..];
        let ready = try_join_all(new.iter().map(|sidecar| sidecar.ready(context)));
        tokio::select! {
            ready = ready => ready.map(drop).map_err(Stop::from),
            failed = self.exited() => Err(failed.into()),
            stop = stopped => Err(stop),
        }
    }

    async fn start_containers(
        &mut self,
        context: &ExecuteContext,
        step: &SidecarsStep,
        state: &UnitState,
    ) -> Result<(), StepError> {
        let holder = match self.holder.take() {
            Some(holder) => holder,
            None => Holder::start(&context.engine, &self.labels).await?,
        };
        let containers = step.containers.iter().map(|planned| {
            let platform = step.platform.as_ref();
            let network = self.network.name();
            let spec = container::spec(planned, platform, state, &self.labels, network);
            RunningSidecar::start(context, &self.unit, planned, spec, &holder)
        });
        let started = join_all(containers).await;
        self.holder = Some(holder);
        let mut failed = None;
        for result in started {
            match result {
                Ok(sidecar) => self.running.push(sidecar),
                Err(error) => _ = failed.get_or_insert(error),
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// Waits until one of the sidecars has ended, and returns the error.
    pub async fn exited(&self) -> StepError {
        let exits = self.running.iter().map(|it| Box::pin(it.exited()));
        let exits: Vec<_> = exits.collect();
        if exits.is_empty() {
            return std::future::pending().await;
        }
        select_all(exits).await.0
    }

    /// Adds hints to the error of a script: which sidecar ended meanwhile, and where to read their output.
    pub async fn explain(&self, error: StepError) -> StepError {
        if let Ok(exited) = tokio::time::timeout(GRACE, self.exited()).await {
            return error.hint(format!("meanwhile, {}", exited.message()));
        }
        match self.running.as_slice() {
            [] => error,
            [one] => error.hint(format!(
                "`xp logs {} --phase {}` shows the output of `{}`",
                self.unit,
                one.log(),
                one.name()
            )),
            several => {
                let names: Vec<String> = several.iter().map(RunningSidecar::log).collect();
                error.hint(format!(
                    "`xp logs {} --phase PHASE` shows the output of the other containers: {}",
                    self.unit,
                    names.join(", ")
                ))
            }
        }
    }

    /// Ends the sidecars, while the builder may still be in the network.
    pub async fn stop(&mut self, context: &ExecuteContext) {
        let holder = self.holder.take();
        let sidecars = std::mem::take(&mut self.running);
        let ended = sidecars.into_iter().map(|it| it.end(context, &self.unit));
        let holder_ended = async {
            if let Some(holder) = holder {
                holder.end().await;
            }
        };
        // Concurrently: the holder ends them, and Podman removes it only after them.
        tokio::join!(join_all(ended), holder_ended);
    }

    /// Ends the sidecars and removes the network; the builder has ended before.
    pub async fn end(mut self, context: &ExecuteContext) {
        self.stop(context).await;
        self.network.remove().await;
    }
}
