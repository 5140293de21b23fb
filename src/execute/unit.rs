//! Runs the steps of one unit in order.

use std::time::{Duration, Instant};

use super::builder::RunningBuilder;
use super::state::{Published, UnitState};
use super::step_error::{StepError, Stop};
use super::{ExecuteContext, builder, image, in_place, publish, secrets, source};
use crate::execute::reproduce;
use crate::model::event::{Event, Outcome, Phase, Unit, UnitSummary};
use crate::model::plan::{ImageStep, Step, UnitPlan};

/// How often an image is built while other runs keep replacing its needed images.
const MAX_BUILDS: usize = 4;

/// Runs the steps of a unit, except those held until all other units are done; never leaves a container behind.
///
/// Also returns the pushed image.
pub async fn run_unit(
    context: &ExecuteContext,
    plan: &UnitPlan,
) -> (UnitSummary, Option<Published>) {
    let mut state = UnitState::default();
    let ended = run_steps(context, plan, plan.first_steps(), &mut state).await;
    (ended, state.published)
}

/// Runs the steps of a unit that were held until all other units were done.
pub async fn run_held(
    context: &ExecuteContext,
    plan: &UnitPlan,
    published: Option<Published>,
) -> UnitSummary {
    let mut state = UnitState {
        published,
        ..UnitState::default()
    };
    run_steps(context, plan, plan.held_steps(), &mut state).await
}

async fn run_steps(
    context: &ExecuteContext,
    plan: &UnitPlan,
    steps: &[Step],
    state: &mut UnitState,
) -> UnitSummary {
    let mut runner = UnitRunner {
        context,
        unit: &plan.unit,
        state,
        running: None,
        deadline: None,
    };
    let _guard = match &plan.in_place {
        None => None,
        Some(folder) => match in_place::lock(context, folder).await {
            None => return UnitSummary::new(Outcome::Stopped),
            guard => guard,
        },
    };
    if let Err(error) = secrets::check(context, steps) {
        return UnitSummary::failed(error.in_phase(Phase::Image, None));
    }
    let mut ended = UnitSummary::new(Outcome::Done);
    let (mut position, mut builds) = (0, 1);
    let image_step = steps.iter().position(|it| matches!(it, Step::Image(_)));
    while let Some(step) = steps.get(position) {
        position += 1;
        if runner.deadline.is_none() && matches!(step, Step::Container(_) | Step::Image(_)) {
            runner.deadline = plan
                .timeout
                .map(|timeout| (Instant::now() + timeout, timeout));
        }
        // The first other step ends the scripts, and with them the container.
        if !matches!(step, Step::Script(_)) {
            let image = match step {
                Step::Image(image) => Some(image.as_ref()),
                _ => None,
            };
            if let Err(error) = runner.end_container(image).await {
                ended = UnitSummary::failed(error.in_phase(Phase::Container, None));
                break;
            }
        }
        match runner.step(step).await {
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
                // The results of the scripts are still valid: they do not depend on needed images.
                position = image_step.unwrap_or(position);
            }
            Err(Stop::Failed(error)) => {
                let error = error.with_engine(&context.engine).await;
                let command = runner.reproduce(step).await;
                ended = UnitSummary::failed(error.in_phase(step.phase(), command));
                break;
            }
        }
    }
    match runner.end_container(None).await {
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
    if let (Outcome::Done, Some(folder)) = (ended.outcome, &plan.in_place) {
        in_place::compare(context, &plan.unit, folder).await;
    }
    ended
}

struct UnitRunner<'a> {
    context: &'a ExecuteContext,
    unit: &'a Unit,
    state: &'a mut UnitState,
    running: Option<RunningBuilder>,
    deadline: Option<(Instant, Duration)>,
}

impl UnitRunner<'_> {
    async fn step(&mut self, step: &Step) -> Result<(), Stop> {
        if self.context.cancel.is_cancelled() {
            return Err(Stop::Cancelled);
        }
        let (unit, phase) = (self.unit.clone(), step.phase());
        let events = &self.context.events;
        events.emit(Event::StepStarted {
            unit: unit.clone(),
            phase,
            title: step.describe(&self.context.folder),
        });
        let start = Instant::now();
        self.run(step).await?;
        events.emit(Event::StepFinished {
            unit,
            phase,
            elapsed: start.elapsed(),
        });
        Ok(())
    }

    async fn run(&mut self, step: &Step) -> Result<(), Stop> {
        let (context, unit) = (self.context, self.unit);
        match step {
            // These two run on a blocking thread and are stopped by the cancellation token.
            Step::Sync(step) => source::run_sync(&context.sources, unit, step).await,
            Step::Export(step) => {
                source::run_export(&context.sources, unit, step, self.state).await
            }
            Step::Container(step) => {
                let started = builder::start(context, unit, step, self.state, self.stopped());
                self.running = Some(started.await?);
                Ok(())
            }
            Step::Script(step) => match &self.running {
                Some(running) => self.bounded(running.script(context, unit, step)).await,
                None => Err(StepError::plain("no builder container is running").into()),
            },
            Step::Image(step) => {
                let built = image::build(context, unit, step, self.state);
                self.state.used = Some(self.bounded(built).await?);
                Ok(())
            }
            Step::Push(step) => publish::push(context, unit, step, self.state).await,
            Step::Pull { image, digest } => {
                publish::pull(context, unit, image, digest.as_ref()).await
            }
            Step::EngineTag { image, names } => publish::tag_engine(context, image, names).await,
            Step::RegistryTag { image, tags } => {
                let published = self.state.published.as_ref();
                publish::tag_registry(context, unit, image, tags, published).await
            }
        }
    }

    /// Returns the shell command that reproduces a step, if there is one.
    async fn reproduce(&self, step: &Step) -> Option<String> {
        match step {
            Step::Script(step) => self.running.as_ref()?.reproduce(self.context, step),
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
            stop = self.stopped() => Err(stop),
        }
    }

    /// Waits for cancellation or the unit's timeout.
    async fn stopped(&self) -> Stop {
        let late = async {
            match self.deadline {
                Some((deadline, timeout)) => {
                    tokio::time::sleep_until(deadline.into()).await;
                    timeout
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.context.cancel.cancelled() => Stop::Cancelled,
            timeout = late => {
                let seconds = timeout.as_secs();
                StepError::plain(format!("timed out after {seconds} s (the service's `timeout`)"))
                    .hint("raise `timeout` if it needs more time; the end of its log shows where it stopped")
                    .into()
            }
        }
    }

    /// Ends the container, if one is running, after copying back its results.
    async fn end_container(&mut self, image: Option<&ImageStep>) -> Result<(), StepError> {
        let Some(running) = self.running.take() else {
            return Ok(());
        };
        let returned = tokio::select! {
            returned = running.copy_back(self.context, image) => returned,
            // An incomplete copy is detected by the next build.
            () = self.context.cancel.cancelled() => Ok(()),
        };
        let lost = running.lost();
        running.end(self.context).await;
        returned.map_err(|error| match lost {
            Some(lost) => error.hint(lost),
            None => error,
        })
    }
}
