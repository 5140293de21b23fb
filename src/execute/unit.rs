//! The steps of one unit, one after the other.

use std::time::{Duration, Instant};

use super::builder::Running;
use super::state::{Published, UnitState};
use super::stop::{StepError, Stop};
use super::{Context, builder, by_hand, image, in_place, publish, secrets, source};
use crate::event::{Event, Outcome, Phase, Unit};
use crate::plan::{ImageStep, Step, UnitPlan};

/// How often an image is built while other runs replace those that it is built from.
const MOST_BUILDS: usize = 4;

/// Carries out the steps of a unit; whatever happens, no container is left.
///
/// Returns the image that was pushed as well. The steps that wait for all other units are left out.
pub async fn run_unit(context: &Context, plan: &UnitPlan) -> (Outcome, Option<Published>) {
    let mut state = UnitState::default();
    let outcome = run_steps(context, plan, plan.first_steps(), &mut state).await;
    (outcome, state.published)
}

/// Carries out the steps of a unit that waited for all other units.
pub async fn run_held(context: &Context, plan: &UnitPlan, published: Option<Published>) -> Outcome {
    let mut state = UnitState {
        published,
        ..UnitState::default()
    };
    run_steps(context, plan, plan.held_steps(), &mut state).await
}

async fn run_steps(
    context: &Context,
    plan: &UnitPlan,
    steps: &[Step],
    state: &mut UnitState,
) -> Outcome {
    let mut work = Work {
        context,
        unit: &plan.unit,
        state,
        running: None,
        deadline: None,
    };
    let _alone = match &plan.in_place {
        None => None,
        Some(folder) => match in_place::alone(context, folder).await {
            None => return Outcome::Stopped,
            alone => alone,
        },
    };
    if let Err(error) = secrets::check(context, steps) {
        return Outcome::Failed(error.in_phase(Phase::Image, None));
    }
    let mut outcome = Outcome::Done;
    let (mut position, mut builds) = (0, 1);
    let image_step = steps.iter().position(|it| matches!(it, Step::Image(_)));
    while let Some(step) = steps.get(position) {
        position += 1;
        if work.deadline.is_none() && matches!(step, Step::Container(_) | Step::Image(_)) {
            work.deadline = plan
                .timeout
                .map(|timeout| (Instant::now() + timeout, timeout));
        }
        // The scripts are over when the first other step comes.
        if !matches!(step, Step::Script(_)) {
            let image = match step {
                Step::Image(image) => Some(image.as_ref()),
                _ => None,
            };
            if let Err(error) = work.end_container(image).await {
                outcome = Outcome::Failed(error.in_phase(Phase::Container, None));
                break;
            }
        }
        match work.step(step).await {
            Ok(()) => {}
            Err(Stop::Cancelled) => {
                outcome = Outcome::Stopped;
                break;
            }
            // Ctrl-C reaches what xp has started as well, such as ssh, whose end is no failure then.
            Err(Stop::Failed(_)) if context.cancel.is_cancelled() => {
                outcome = Outcome::Stopped;
                break;
            }
            Err(Stop::Failed(error))
                if error.is_superseded() && builds < MOST_BUILDS && image_step.is_some() =>
            {
                builds += 1;
                context.events.emit(Event::Note(format!(
                    "{}: {}: it is built again",
                    plan.unit,
                    error.message()
                )));
                // The scripts' results are still there; they know nothing of needed images.
                position = image_step.unwrap_or(position);
            }
            Err(Stop::Failed(error)) => {
                let error = error.with_engine(&context.engine).await;
                let by_hand = work.by_hand(step).await;
                outcome = Outcome::Failed(error.in_phase(step.phase(), by_hand));
                break;
            }
        }
    }
    match work.end_container(None).await {
        Err(error) if matches!(outcome, Outcome::Done) => {
            outcome = Outcome::Failed(error.in_phase(Phase::Container, None));
        }
        // What failed before is told as the failure.
        Err(error) => {
            let failed = error.in_phase(Phase::Container, None);
            let hints: String = failed.hints.iter().map(|it| format!("; {it}")).collect();
            let text = format!("{}: {}{hints}", plan.unit, failed.message);
            context.events.emit(Event::Warning(text));
        }
        Ok(()) => {}
    }
    if let (Outcome::Done, Some(folder)) = (&outcome, &plan.in_place) {
        in_place::compare(context, &plan.unit, folder).await;
    }
    outcome
}

struct Work<'a> {
    context: &'a Context,
    unit: &'a Unit,
    state: &'a mut UnitState,
    running: Option<Running>,
    deadline: Option<(Instant, Duration)>,
}

impl Work<'_> {
    async fn step(&mut self, step: &Step) -> Result<(), Stop> {
        if self.context.cancel.is_cancelled() {
            return Err(Stop::Cancelled);
        }
        let (unit, phase) = (self.unit.clone(), step.phase());
        let events = &self.context.events;
        events.emit(Event::StepStarted {
            unit: unit.clone(),
            phase,
            title: step.in_words(&self.context.folder),
        });
        let start = Instant::now();
        self.carry_out(step).await?;
        events.emit(Event::StepFinished {
            unit,
            phase,
            elapsed: start.elapsed(),
        });
        Ok(())
    }

    async fn carry_out(&mut self, step: &Step) -> Result<(), Stop> {
        let (context, unit) = (self.context, self.unit);
        match step {
            // These two run on a thread, and are told to stop by the token.
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
                None => Err(StepError::plain("no builder container runs").into()),
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

    /// Returns the command that repeats a step by hand, where there is one.
    async fn by_hand(&self, step: &Step) -> Option<String> {
        match step {
            Step::Script(step) => self.running.as_ref()?.by_hand(self.context, step),
            Step::Image(step) => {
                let reach = self.context.reach().await.ok()?;
                let secret = |file: &str| secrets::path_of(self.context, file);
                Some(by_hand::image(step, |path| reach.typed(path), secret))
            }
            _ => None,
        }
    }

    /// Drops a step when it is to stop.
    async fn bounded<T>(&self, step: impl Future<Output = Result<T, Stop>>) -> Result<T, Stop> {
        tokio::select! {
            result = step => result,
            stop = self.stopped() => Err(stop),
        }
    }

    /// Waits until everything is to stop, or the unit's time is over.
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
                StepError::plain(format!("the service's `timeout` of {seconds} s is over"))
                    .hint("raise `timeout` if it needs longer; the end of its log tells where it hung")
                    .into()
            }
        }
    }

    /// Ends the container where one runs, after what was made in it was brought back.
    async fn end_container(&mut self, image: Option<&ImageStep>) -> Result<(), StepError> {
        let Some(running) = self.running.take() else {
            return Ok(());
        };
        let returned = tokio::select! {
            returned = running.bring_back(self.context, image) => returned,
            // What is brought back half-way is told by the next build.
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
