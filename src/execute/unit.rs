//! Runs the steps of one unit in order.

use std::time::{Duration, Instant};

use time::OffsetDateTime;

use super::builder::FoundReports;
use super::image::BuiltImage;
use super::remote::WantedFiles;
use super::script_run::ScriptRun;
use super::state::{Published, UnitState};
use super::step_error::{StepError, Stop};
use super::turn::{Halt, Turn};
use super::{
    ExecuteContext, attest, awaited, fleet, image, in_place, platforms, publish, results, scm,
    secrets, source, toolchain,
};
use crate::base::units;
use crate::execute::reproduce;
use crate::model::event::{Event, ImageResult, Outcome, Phase, UnitSummary};
use crate::model::fleet::UnitEnd;
use crate::model::plan::{ContainerStep, Milestone, RestoreStep, Step, UnitPlan};
use crate::model::trace::TraceParent;

/// How often an image is built while other runs keep replacing what it is built from.
const MAX_BUILDS: usize = 4;

/// Runs the steps of a unit, except those held until all other units are done; never leaves a container behind.
///
/// Also returns the pushed image.
pub async fn run_unit(
    context: &ExecuteContext,
    plan: &UnitPlan,
    turn: &mut Turn<'_>,
) -> (UnitSummary, Option<Published>) {
    let mut state = UnitState {
        started: Some(OffsetDateTime::now_utc()),
        ..UnitState::default()
    };
    let mut ended = match &context.fleet {
        Some(fleet) if plan.remote.is_some() => {
            let ended = fleet::run(context, fleet, plan, &mut state, turn).await;
            after_job(context, plan, ended, &mut state).await
        }
        _ => run_steps(context, plan, plan.first_steps(), &mut state, Some(turn)).await,
    };
    if ended.outcome == Outcome::Done {
        if let Some(fleet) = &context.fleet {
            fleet.record(plan, &state);
        }
        let pushed = state.published.as_ref().map(|it| &it.digest);
        let pushed = pushed.or(state.awaited.as_ref());
        let image = plan.image_result(pushed, !state.is_commit_tag_refused);
        ended.image = Some(Box::new(image));
        results::remove_stage(context, &plan.unit).await;
    }
    (ended, state.published)
}

/// Runs the steps of a unit that follow those of its Job: its tags.
async fn after_job(
    context: &ExecuteContext,
    plan: &UnitPlan,
    ended: UnitSummary,
    state: &mut UnitState,
) -> UnitSummary {
    let steps = &plan.first_steps()[plan.remote_steps().len()..];
    if ended.outcome != Outcome::Done || steps.is_empty() {
        return ended;
    }
    UnitSummary {
        restored: ended.restored,
        only_fetched: false,
        ..run_steps(context, plan, steps, state, None).await
    }
}

/// Runs all steps of a unit on the worker of a fleet; never leaves a container behind.
pub async fn run_alone(context: &ExecuteContext, plan: &UnitPlan) -> UnitEnd {
    let mut state = UnitState::default();
    let summary = run_steps(context, plan, &plan.steps, &mut state, None).await;
    context.uploads.finish(context).await;
    let (identity, digest) = match state.published {
        Some(published) => (published.identity, Some(published.digest)),
        None => (None, None),
    };
    UnitEnd {
        only_fetched: summary.only_fetched,
        summary,
        digest,
        identity,
        is_commit_tag_refused: state.is_commit_tag_refused,
    }
}

/// Runs the steps of a unit that were held until all other units were done; `image` is the result of the others.
pub async fn run_held(
    context: &ExecuteContext,
    plan: &UnitPlan,
    published: Option<Published>,
    image: Option<Box<ImageResult>>,
) -> UnitSummary {
    let mut state = UnitState {
        published,
        ..UnitState::default()
    };
    let mut ended = run_steps(context, plan, plan.held_steps(), &mut state, None).await;
    if ended.outcome == Outcome::Done {
        ended.image = image.map(|image| Box::new(plan.with_held_tags(*image)));
    }
    ended
}

async fn run_steps(
    context: &ExecuteContext,
    plan: &UnitPlan,
    steps: &[Step],
    state: &mut UnitState,
    mut turn: Option<&mut Turn<'_>>,
) -> UnitSummary {
    let mut runner = UnitRunner {
        context,
        plan,
        state,
        scripts: ScriptRun::default(),
        has_reports: false,
        started: 0,
        deadline: None,
    };
    let mut working_copy = None;
    let checked = secrets::check(context, steps).and_then(|()| platforms::check(context, steps));
    if let Err(error) = checked {
        return UnitSummary::failed(error.in_phase(Phase::Image, None));
    }
    let mut ended = UnitSummary::new(Outcome::Done);
    let (mut position, mut builds) = (0, 1);
    let image_step = steps.iter().position(is_image);
    while let Some(step) = steps.get(position) {
        // The first other step ends the scripts, and with them the container.
        if !step.is_of_scripts() {
            let wanted = match step {
                Step::Image(image) => WantedFiles::Image(image),
                _ if uses_files(&steps[position..]) => WantedFiles::All,
                _ => WantedFiles::None,
            };
            if let Err(error) = runner.end_container(wanted, true).await {
                ended = UnitSummary::failed(error.in_phase(Phase::Container, None));
                break;
            }
        }
        if let Some(turn) = &mut turn {
            match turn.enter(position).await {
                Ok(waited) => runner.postpone(waited),
                Err(Halt::Cancelled) => {
                    ended = UnitSummary::new(Outcome::Stopped);
                    break;
                }
                Err(Halt::Blocked(needed)) => {
                    ended = UnitSummary::blocked(needed);
                    break;
                }
            }
        }
        // Not before the unit has a job: another one that needs a job may have the working copy.
        if let (None, Some(folder)) = (&working_copy, &plan.in_place) {
            working_copy = in_place::lock(context, folder).await;
            if working_copy.is_none() {
                ended = UnitSummary::new(Outcome::Stopped);
                break;
            }
        }
        if matches!(step, Step::Image(_)) {
            match runner.toolchain_moved().await {
                Ok(None) => {}
                Ok(Some(note)) if builds < MAX_BUILDS => {
                    builds += 1;
                    context.events.emit(Event::note(note));
                    position = 0;
                    continue;
                }
                Ok(Some(note)) => {
                    let error = StepError::plain(note)
                        .hint("wait for the other runs to finish and run xp again");
                    ended = UnitSummary::failed(error.in_phase(Phase::Image, None));
                    break;
                }
                Err(error) => {
                    let error = error.with_engine(&context.engine).await;
                    ended = UnitSummary::failed(error.in_phase(Phase::Image, None));
                    break;
                }
            }
        }
        position += 1;
        runner.limit_time(step);
        match runner.step(step, turn.as_deref()).await {
            Ok(()) => {}
            Err(Stop::Cancelled) => {
                ended = UnitSummary::new(Outcome::Stopped);
                break;
            }
            // Ctrl-C also ends child processes such as ssh: that is not a failure.
            Err(Stop::Failed(_)) if context.cancel.is_cancelled() => {
                ended = UnitSummary::new(Outcome::Stopped);
                break;
            }
            Err(Stop::Failed(error))
                if error.is_superseded() && builds < MAX_BUILDS && image_step.is_some() =>
            {
                builds += 1;
                context.events.emit(Event::note(format!(
                    "{}: {}; building it again",
                    plan.unit,
                    error.message()
                )));
                // The results of the scripts are still valid, unless a needed image ran beside them, or there are others
                // for each platform.
                position = if plan.tests_needed_images() || plan.has_scripts_per_platform() {
                    0
                } else {
                    image_step.unwrap_or(position)
                };
            }
            Err(Stop::Failed(error)) => {
                let engine = &context.on(step.platform()).engine;
                let mut error = error.with_engine(engine).await;
                if matches!(step, Step::Script(_) | Step::Plugin(_)) {
                    error = runner.scripts.explain(error).await;
                    if let Some(platform) = runner.scripts.platform() {
                        error = error.hint(format!("it ran for {platform}"));
                    }
                }
                let command = runner.reproduce(step).await;
                let mut failed = error.in_phase(step.phase(), command);
                failed.image = step.other_image().map(ToString::to_string);
                failed.platform = runner.scripts.platform().cloned();
                ended = UnitSummary::failed(failed);
                break;
            }
        }
    }
    let is_done = ended.outcome == Outcome::Done;
    match runner.end_container(WantedFiles::None, is_done).await {
        Err(error) if ended.outcome == Outcome::Done => {
            ended = UnitSummary::failed(error.in_phase(Phase::Container, None));
        }
        // An earlier failure is the outcome; this one is only a warning.
        Err(error) => {
            let failed = error.in_phase(Phase::Container, None);
            let hints: String = failed.hints.iter().map(|it| format!("; {it}")).collect();
            let text = format!("{}: {}{hints}", plan.unit, failed.message);
            context.events.emit(Event::warning(text));
        }
        Ok(()) => {}
    }
    ended.restored = std::mem::take(&mut runner.state.restored);
    ended.only_fetched = steps[..position].iter().all(Step::fetches_source);
    if let (Outcome::Done, Some(folder)) = (ended.outcome, &plan.in_place) {
        in_place::compare(context, &plan.unit, folder).await;
    }
    ended
}

fn is_image(step: &Step) -> bool {
    matches!(step, Step::Image(_))
}

/// Returns whether an image is built from the files that scripts have written, before they are replaced for another
/// platform.
fn uses_files(steps: &[Step]) -> bool {
    let until_replaced = steps.iter().take_while(|step| !step.fetches_source());
    { until_replaced }.any(is_image)
}

struct UnitRunner<'a> {
    context: &'a ExecuteContext,
    plan: &'a UnitPlan,
    state: &'a mut UnitState,
    /// The containers of the scripts.
    scripts: ScriptRun,
    /// Whether scripts have written test reports.
    has_reports: bool,
    /// The number of steps that were started.
    started: usize,
    deadline: Option<(Instant, Duration)>,
}

impl UnitRunner<'_> {
    /// Starts the unit's timeout with its first script or its image.
    fn limit_time(&mut self, step: &Step) {
        let is_limited = step.container().is_some() || matches!(step, Step::Image(_));
        if self.deadline.is_none() && is_limited {
            let timeout = self.plan.timeout;
            self.deadline = timeout.map(|timeout| (Instant::now() + timeout, timeout));
        }
    }

    /// Extends the unit's timeout by a wait for others.
    fn postpone(&mut self, waited: Duration) {
        if let Some((deadline, _)) = &mut self.deadline {
            *deadline += waited;
        }
    }

    /// Returns a note if the scripts ran in another builder image than the one that is final now.
    async fn toolchain_moved(&mut self) -> Result<Option<String>, StepError> {
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

    async fn step(&mut self, step: &Step, turn: Option<&Turn<'_>>) -> Result<(), Stop> {
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
        self.provide(&step.images).await?;
        for step in &step.otherwise {
            if !step.is_of_scripts() {
                self.end_container(WantedFiles::None, true).await?;
            }
            self.limit_time(step);
            let done = Box::pin(self.step(step, turn)).await;
            if let (Err(Stop::Failed(error)), Step::Script(_) | Step::Plugin(_)) = (done, step) {
                return Err(self.scripts.explain(error).await.into());
            }
        }
        Ok(())
    }

    /// Makes sure that the engine has images that the plan did not need.
    async fn provide(&self, images: &[UnitPlan]) -> Result<(), Stop> {
        for image in images {
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
    async fn reproduce(&self, step: &Step) -> Option<String> {
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
    async fn end_container(
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
