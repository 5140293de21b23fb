//! One container beside the scripts.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::readiness::{NextProbe, ProbeResult, Readiness};
use crate::client::engine::{CreatedHeld, EngineError, HeldContainer, HeldSpec, Holder};
use crate::execute::ExecuteContext;
use crate::execute::state::UnitState;
use crate::execute::step_error::StepError;
use crate::model::event::{Event, Unit, sidecar_log};
use crate::model::image::Platform;
use crate::model::plan::{PlannedImage, PlannedSidecar};

/// The label with the host name of a sidecar.
const LABEL_SIDECAR: &str = "x-platform.sidecar";

/// How long the last output of a container may take after it was ended.
const LAST_OUTPUT: Duration = Duration::from_secs(5);

/// A container that was started.
pub struct RunningSidecar {
    unit: Unit,
    name: String,
    /// What it is, for messages.
    subject: String,
    container: HeldContainer,
    /// The probe; `None` if it counts as ready at once.
    probe: Option<Vec<String>>,
    timeout: Duration,
    started: Instant,
    /// Set after its end: later output is not part of the run.
    is_closed: Arc<AtomicBool>,
}

/// Returns the configuration of a container.
pub fn spec(
    planned: &PlannedSidecar,
    platform: Option<&Platform>,
    state: &UnitState,
    labels: &HashMap<String, String>,
    network: &str,
) -> HeldSpec {
    let image = match &planned.image {
        PlannedImage::Named(image) => state.toolchain(image, platform).to_string(),
        // The image step comes first.
        PlannedImage::Built => state.built.clone().unwrap_or_default(),
    };
    let mut labels = labels.clone();
    labels.insert(LABEL_SIDECAR.to_owned(), planned.name.clone());
    let mut aliases = vec![planned.name.clone()];
    let lowercase = planned.name.to_lowercase();
    if lowercase != planned.name {
        // Names of services may have capitals, and resolvers may convert them.
        aliases.push(lowercase);
    }
    HeldSpec {
        image,
        platform: platform.cloned(),
        command: planned.command.clone(),
        env: planned.env.clone().into_iter().collect(),
        labels,
        network: Some(network.to_owned()),
        aliases,
        ..HeldSpec::default()
    }
}

impl RunningSidecar {
    /// Starts a container.
    pub async fn start(
        context: &ExecuteContext,
        unit: &Unit,
        planned: &PlannedSidecar,
        spec: HeldSpec,
        holder: &Holder,
    ) -> Result<Self, StepError> {
        let name = planned.name.clone();
        let subject = match planned.image {
            PlannedImage::Named(_) => format!("sidecar `{name}`"),
            PlannedImage::Built => "the new image".to_owned(),
        };
        let failed = |error: EngineError| {
            let error = StepError::from(error).prefixed(&format!("{subject}: "));
            error.of_sidecar(&name)
        };
        let engine = &context.engine;
        let probe = match &planned.ready {
            Some(ready) => Some(ready.clone()),
            None => engine.health_command(&spec.image).await.map_err(failed)?,
        };
        let created = CreatedHeld::create(engine, &spec, holder)
            .await
            .map_err(failed)?;
        context.events.emit(Event::SidecarStarted {
            unit: unit.clone(),
            sidecar: name.clone(),
            image: spec.image,
        });
        let is_closed = Arc::new(AtomicBool::new(false));
        let output = {
            let (events, unit) = (context.events.clone(), unit.clone());
            let (sidecar, is_closed) = (name.clone(), is_closed.clone());
            move |bytes| {
                if !is_closed.load(Ordering::Relaxed) {
                    let (unit, sidecar) = (unit.clone(), sidecar.clone());
                    events.emit(Event::SidecarOutput {
                        unit,
                        sidecar,
                        bytes,
                    });
                }
            }
        };
        let started = Instant::now();
        let container = created.start(output).await;
        Ok(Self {
            unit: unit.clone(),
            container: container.map_err(failed)?,
            name,
            subject,
            probe,
            timeout: planned.timeout,
            started,
            is_closed,
        })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the name of its log.
    pub fn log(&self) -> String {
        sidecar_log(&self.name)
    }

    /// Waits until the container is ready.
    pub async fn ready(&self, context: &ExecuteContext) -> Result<(), StepError> {
        if let Some(command) = &self.probe {
            self.probe_until_ready(command).await?;
        }
        context.events.emit(Event::SidecarReady {
            unit: self.unit.clone(),
            sidecar: self.name.clone(),
            elapsed: self.started.elapsed(),
        });
        Ok(())
    }

    async fn probe_until_ready(&self, command: &[String]) -> Result<(), StepError> {
        let mut readiness = Readiness::new(self.timeout);
        loop {
            let began = self.started.elapsed();
            let Some(limit) = readiness.probe_limit(began) else {
                break;
            };
            let result = self.probe(command, limit).await?;
            match readiness.add(result, began, self.started.elapsed()) {
                NextProbe::Ready => return Ok(()),
                NextProbe::After(pause) => tokio::time::sleep(pause).await,
                NextProbe::TooLate => break,
            }
        }
        let shown = match command {
            [shell, flag, line] if shell.ends_with("sh") && flag == "-c" => line.clone(),
            words => words.join(" "),
        };
        let error = StepError::plain(format!("{} is {}", self.subject, readiness.reason(&shown)));
        let error = error.of_sidecar(&self.name);
        Err(error.hint("if it needs more time, raise the sidecar's `timeout`"))
    }

    /// Runs the probe once. If it hangs, it goes on in the container until that ends.
    async fn probe(&self, command: &[String], limit: Duration) -> Result<ProbeResult, StepError> {
        match tokio::time::timeout(limit, self.container.exec(command)).await {
            Err(_) => Ok(ProbeResult::Hanging(limit)),
            Ok(Ok((code, output))) => {
                let output = String::from_utf8_lossy(&output).into_owned();
                Ok(ProbeResult::Exited(code, output))
            }
            // Its end is reported, with the exit code.
            Ok(Err(EngineError::ContainerGone)) => std::future::pending().await,
            Ok(Err(error @ EngineError::Refused { .. })) => {
                Ok(ProbeResult::NotStarted(error.to_string()))
            }
            Ok(Err(error)) => Err(error.into()),
        }
    }

    /// Waits until the container has ended by itself, and returns the error.
    pub async fn exited(&self) -> StepError {
        let code = self.container.wait().await.ok();
        let error = StepError::ended(&self.subject, code, self.started.elapsed());
        error.of_sidecar(&self.name)
    }

    /// Ends the container, and waits for its last output.
    pub async fn end(self, context: &ExecuteContext, unit: &Unit) {
        let exit = self.container.exit_code();
        let Self {
            name,
            container,
            is_closed,
            ..
        } = self;
        let last_output = async { _ = tokio::time::timeout(LAST_OUTPUT, container.wait()).await };
        tokio::join!(container.remove(), last_output);
        is_closed.store(true, Ordering::Relaxed);
        context.events.emit(Event::SidecarEnded {
            unit: unit.clone(),
            sidecar: name,
            exit,
        });
    }
}
