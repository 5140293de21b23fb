//! Runs single steps.

use std::time::{Duration, Instant};

use super::run_steps;
use crate::base::units;
use crate::execute::builder::FoundReports;
use crate::execute::image::BuiltImage;
use crate::execute::remote::WantedFiles;
use crate::execute::script_run::ScriptRun;
use crate::execute::source::WorkingCopyGuard;
use crate::execute::state::UnitState;
use crate::execute::step_error::{StepError, Stop};
use crate::execute::turn::Turn;
use crate::execute::{
    ExecuteContext, attest, awaited, image, publish, reproduce, results, scm, secrets, source,
    toolchain,
};
use crate::model::event::{Event, Outcome};
use crate::model::plan::{ContainerStep, Milestone, RestoreStep, Step, UnitPlan};
use crate::model::trace::TraceParent;

/// Runs steps of a unit.
pub struct UnitRunner<'a> {
    pub context: &'a ExecuteContext,
    pub plan: &'a UnitPlan,
    pub state: &'a mut UnitState,
    /// The containers of the scripts.
    pub scripts: ScriptRun,
    /// Whether scripts have written test reports.
    has_reports: bool,
    /// The number of steps that were started.
    started: usize,
    /// The position of the next step.
    pub position: usize,
    /// The lock of the working copy that is built in place.
    pub working_copy: Option<WorkingCopyGuard>,
    deadline: Option<(Instant, Duration)>,
}

impl<'a> UnitRunner<'a> {
    pub fn new(context: &'a ExecuteContext, plan: &'a UnitPlan, state: &'a mut UnitState) -> Self {
        Self {
            context,
            plan,
            state,
            scripts: ScriptRun::default(),
            has_reports: false,
            started: 0,
            position: 0,
            working_copy: None,
            deadline: None,
        }
    }

    /// Starts the unit's timeout with its first script or its image.
    pub fn limit_time(&mut self, step: &Step) {
        let is_limited = step.container().is_some() || matches!(step, Step::Image(_));
        if self.deadline.is_none() && is_limited {
            let timeout = self.plan.timeout;
            self.deadline = timeout.map(|timeout| (Instant::now() + timeout, timeout));
        }
    }

    /// Extends the unit's timeout by a wait for others.
    pub fn postpone(&mut self, waited: Duration) {
        if let Some((deadline, _)) = &mut self.deadline {
            *deadline += waited;
        }
    }

    /// Returns a note if the scripts ran in another builder image than the one that is final now.
    pub async fn toolchain_moved(&mut self) -> Result<Option<String>, StepError> {
        let before = std::mem::take(&mut self.state.toolchains);
        for ((platform, image), before) in before {
            let engine = self.context.engine_of(platform.as_ref());
            let now = engine.image(&image).await?;
            if now.is_none_or(|now| now.id != before) {
                return Ok(Some(format!(
                    "{}: another run replaced {image} while the scripts ran in it; running them again",
                    self.plan.unit
                )));
            }
        }
        Ok(None)
    }

    /// Records the image of a container of the scripts, before it is created, so that a builder that is replaced now is
    /// noticed.
    async fn record_toolchain(&mut self, step: &ContainerStep) -> Result<(), StepError> {
        if self.plan.has_own_builder() {
            let name = self.state.toolchain(&step.image, step.platform.as_ref());
            let image = self.context.engine_of(step.platform.as_ref()).image(&name);
            let image = image.await?;
            let id = image.map(|image| ((step.platform.clone(), name), image.id));
            self.state.toolchains.extend(id);
        }
        Ok(())
    }

    pub async fn step(&mut self, step: &Step, turn: Option<&Turn<'_>>) -> Result<(), Stop> {
        if self.context.cancel.is_cancelled() {
            return Err(Stop::Cancelled);
        }
        let (unit, phase) = (self.plan.unit.clone(), step.phase());
        let events = &self.context.events;
        events.emit(Event::StepStarted {
            unit: unit.clone(),
            phase,
            title: step.describe(&self.context.folder),
        });
        let start = Instant::now();
        self.started += 1;
        self.run(step, turn).await?;
        events.emit(Event::StepFinished {
            unit,
            phase,
            elapsed: start.elapsed(),
        });
        Ok(())
    }

    async fn run(&mut self, step: &Step, turn: Option<&Turn<'_>>) -> Result<(), Stop> {
        let (context, unit) = (self.context, &self.plan.unit);
        match step {
            // These two run on a blocking thread and are stopped by the cancellation token.
            Step::Sync(step) => source::run_sync(&context.sources, unit, step).await,
            Step::Export(step) => {
                source::run_export(&context.sources, unit, step, self.state).await
            }
            Step::Fetch(step) => scm::run_fetch(context, unit, step, self.state).await,
            Step::Toolchain(step) => {
                let stopped = stopped(context, self.deadline);
                tokio::select! {
                    provided = toolchain::provide(context, unit, step, self.state) => provided,
                    stop = stopped => Err(stop),
                }
            }
            Step::Container(step) => {
                self.record_toolchain(step).await?;
                let stopped = stopped(context, self.deadline);
                let started = self.scripts.start(context, unit, step, self.state, stopped);
                started.await
            }
            Step::Sidecars(step) => {
                let stopped = stopped(context, self.deadline);
                let started = self
                    .scripts
                    .start_sidecars(context, unit, step, self.state, stopped);
                started.await
            }
            Step::Script(step) => {
                let trace = self.trace();
                self.bounded(self.scripts.script(context, unit, step, trace))
                    .await
            }
            Step::Plugin(step) => {
                self.record_toolchain(&step.container).await?;
                let (trace, stopped) = (self.trace(), stopped(context, self.deadline));
                let (scripts, state) = (&mut self.scripts, &*self.state);
                let ended = scripts.plugin(context, unit, step, state, trace, stopped);
                ended.await
            }
            Step::Stage(step) => results::stage(context, unit, step, self.state).await,
            Step::Keep(step) => results::keep(context, unit, step, self.state).await,
            Step::Place(step) => results::place(context, step, self.state).await,
            Step::Restore(step) => {
                if !results::restore(context, unit, step, self.state).await? {
                    self.run_instead(step, turn).await?;
                }
                Ok(())
            }
            Step::Image(step) => {
                let built = image::build(context, unit, step, self.state);
                let BuiltImage { used, id } = self.bounded(built).await?;
                self.state.used = Some(used);
                // The image of another platform cannot run beside the scripts.
                if context.is_own_platform(step.platform.as_ref()) {
                    self.state.built = id;
                }
                Ok(())
            }
            Step::Push(step) => {
                let on_upload = || {
                    if let Some(turn) = turn {
                        turn.reach(Milestone::Usable);
                    }
                };
                publish::push(context, unit, step, self.state, &on_upload).await
            }
            Step::Sbom(step) => attest::sbom(context, unit, step, self.state).await,
            Step::Provenance(step) => attest::provenance(context, unit, step, self.state).await,
            Step::Sign(step) => attest::sign(context, step, self.state).await,
            Step::Await(step) => awaited::find(context, step, self.state).await,
            Step::Pull {
                image,
                digest,
                if_missing,
            } => {
                if *if_missing && publish::has(context, image).await? {
                    return Ok(());
                }
                let digest = self.state.awaited.as_ref().or(digest.as_ref());
                publish::pull(context, unit, image, digest).await
            }
            Step::NameImage { names } => match &self.state.built {
                Some(id) => image::name_image(&context.engine, id, names).await,
                None => Err(StepError::plain("no image was built").into()),
            },
            Step::EngineTag { image, names } => publish::tag_engine(context, image, names).await,
            Step::RegistryTag { image, tags } => {
                publish::tag_registry(context, unit, image, tags, self.state).await
            }
        }
    }

    /// Runs a phase whose result cannot be read.
    async fn run_instead(
        &mut self,
        step: &RestoreStep,
        turn: Option<&Turn<'_>>,
    ) -> Result<(), Stop> {
        self.provide(&step.images, turn).await?;
        for step in &step.otherwise {
            if !step.is_of_scripts() {
                self.end_container(WantedFiles::None, true).await?;
            }
            self.limit_time(step);
            let done = Box::pin(self.step(step, turn)).await;
            match (done, step) {
                (Err(Stop::Failed(error)), Step::Script(_) | Step::Plugin(_)) => {
                    return Err(self.scripts.explain(error).await.into());
                }
                (done, _) => done?,
            }
        }
        Ok(())
    }

    /// Makes sure that the engine has the images of a phase that was to be restored.
    async fn provide(&self, images: &[UnitPlan], turn: Option<&Turn<'_>>) -> Result<(), Stop> {
        for image in images {
            // Waiting for a unit that has not come so far could take forever: this one occupies a job.
            if turn.is_some_and(|turn| turn.is_usable(&image.unit)) {
                continue;
            }
            // Held, because another unit may need the same image.
            let mut provided = self.context.provided.lock().await;
            if provided.contains(&image.unit) {
                continue;
            }
            let mut state = UnitState::default();
            let steps = run_steps(self.context, image, image.first_steps(), &mut state, None);
            let ended = Box::pin(steps).await;
            match (ended.outcome, ended.failure) {
                (Outcome::Done, _) => _ = provided.insert(image.unit.clone()),
                (_, Some(failed)) => {
                    let error = StepError::plain(format!("{}: {}", image.unit, failed.message));
                    let failed = failed.hints.into_iter().fold(error, StepError::hint);
                    return Err(failed.into());
                }
                (_, None) => return Err(Stop::Cancelled),
            }
        }
        Ok(())
    }

    /// Returns the shell command that reproduces a step, if there is one.
    pub async fn reproduce(&self, step: &Step) -> Option<String> {
        match step {
            Step::Script(_) | Step::Plugin(_) => self.scripts.reproduce(self.context, step),
            Step::Image(step) => {
                let path_mapping = self.context.path_mapping().await.ok()?;
                let secret = |file: &str| secrets::path_of(self.context, file);
                Some(reproduce::image(
                    step,
                    |path| path_mapping.typed(path),
                    secret,
                ))
            }
            _ => None,
        }
    }

    /// Runs a step until it ends, is canceled or times out.
    async fn bounded<T>(&self, step: impl Future<Output = Result<T, Stop>>) -> Result<T, Stop> {
        tokio::select! {
            result = step => result,
            stop = stopped(self.context, self.deadline) => Err(stop),
        }
    }

    /// Returns the trace of the current step.
    fn trace(&self) -> Option<TraceParent> {
        let trace = self.context.trace.as_ref()?;
        Some(trace.step(&self.plan.unit.to_string(), self.started - 1))
    }

    /// Ends the container, if one is running, after copying back its results and test reports. `is_done` if all
    /// scripts succeeded.
    pub async fn end_container(
        &mut self,
        wanted: WantedFiles<'_>,
        is_done: bool,
    ) -> Result<(), StepError> {
        if self.scripts.is_empty() {
            return Ok(());
        }
        let mut scripts = std::mem::take(&mut self.scripts);
        scripts.end_others(self.context).await;
        let reports = tokio::select! {
            found = scripts.reports() => found,
            () = self.context.cancel.cancelled() => FoundReports::default(),
        };
        let returned = tokio::select! {
            returned = scripts.copy_back(self.context, &self.plan.unit, wanted) => returned,
            // An incomplete copy is detected by the next build.
            () = self.context.cancel.cancelled() => Ok(()),
        };
        let (lost, expects_reports) = (scripts.lost(), scripts.expects_reports());
        scripts.end(self.context).await;
        if !self.context.cancel.is_cancelled() {
            let is_expected = is_done && expects_reports && !self.has_reports;
            self.has_reports |= !reports.is_empty();
            reports
                .emit(self.context, &self.plan.unit, is_expected)
                .await;
        }
        returned.map_err(|error| match lost {
            Some(lost) => error.hint(lost),
            None => error,
        })
    }
}

/// Waits for cancellation or the unit's timeout.
async fn stopped(context: &ExecuteContext, deadline: Option<(Instant, Duration)>) -> Stop {
    let late = async {
        match deadline {
            Some((deadline, timeout)) => {
                tokio::time::sleep_until(deadline.into()).await;
                timeout
            }
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = context.cancel.cancelled() => Stop::Cancelled,
        timeout = late => {
            let limit = units::limit(timeout);
            StepError::plain(format!("timed out after {limit} (the service's `timeout`)"))
                .hint("raise `timeout` if it needs more time; the end of its log shows where it stopped")
                .into()
        }
    }
}
