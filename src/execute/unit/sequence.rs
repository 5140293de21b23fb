//! Runs steps in order.

use super::runner::UnitRunner;
use crate::execute::in_place;
use crate::execute::remote::WantedFiles;
use crate::execute::step_error::{StepError, Stop};
use crate::execute::turn::{Halt, Turn};
use crate::model::event::{Event, Outcome, Phase, UnitSummary};
use crate::model::plan::Step;

/// How often an image is built while other runs keep replacing what it is built from.
const MAX_BUILDS: usize = 4;

/// How steps ended before all of them were done.
type Ended = Box<UnitSummary>;

impl UnitRunner<'_> {
    /// Runs steps until one does not succeed. Some run again if other runs replace what the image is built from.
    pub async fn run_all(
        &mut self,
        steps: &[Step],
        mut turn: Option<&mut Turn<'_>>,
    ) -> Result<(), Ended> {
        let image_step = steps.iter().position(is_image);
        let mut builds = 1;
        while let Some(step) = steps.get(self.position) {
            self.end_scripts_before(&steps[self.position..]).await?;
            if let Some(turn) = &mut turn {
                let waited = turn.enter(self.position).await.map_err(halted)?;
                self.postpone(waited);
            }
            // Not before the unit has a job: another one that needs a job may have the working copy.
            self.lock_working_copy().await?;
            if is_image(step)
                && let Some(note) = self.toolchain_note().await?
            {
                if builds == MAX_BUILDS {
                    let error = StepError::plain(note)
                        .hint("wait for the other runs to finish and run xp again");
                    return Err(failed(error, Phase::Image));
                }
                builds += 1;
                self.context.events.emit(Event::note(note));
                self.position = 0;
                continue;
            }
            self.position += 1;
            self.limit_time(step);
            let error = match self.step(step, turn.as_deref()).await {
                Ok(()) => continue,
                // Ctrl-C also ends child processes such as ssh: that is not a failure.
                Err(Stop::Failed(error)) if !self.context.cancel.is_cancelled() => error,
                Err(_) => return Err(stopped()),
            };
            match image_step.filter(|_| error.is_superseded() && builds < MAX_BUILDS) {
                Some(image_step) => {
                    builds += 1;
                    self.context.events.emit(Event::note(format!(
                        "{}: {}; building it again",
                        self.plan.unit,
                        error.message()
                    )));
                    // The results of the scripts are still valid, unless a needed image ran beside them, or there are
                    // others for each platform.
                    let are_lost =
                        self.plan.tests_needed_images() || self.plan.has_scripts_per_platform();
                    self.position = if are_lost { 0 } else { image_step };
                }
                None => return Err(self.failure(step, error).await),
            }
        }
        Ok(())
    }

    /// Ends the container of the scripts before the first other step.
    async fn end_scripts_before(&mut self, steps: &[Step]) -> Result<(), Ended> {
        let wanted = match steps.first() {
            Some(step) if step.is_of_scripts() => return Ok(()),
            Some(Step::Image(image)) => WantedFiles::Image(image),
            _ if uses_files(steps) => WantedFiles::All,
            _ => WantedFiles::None,
        };
        let ended = self.end_container(wanted, true).await;
        ended.map_err(|error| failed(error, Phase::Container))
    }

    /// Locks the working copy, if it is built in place.
    async fn lock_working_copy(&mut self) -> Result<(), Ended> {
        if let (None, Some(folder)) = (&self.working_copy, &self.plan.in_place) {
            self.working_copy = in_place::lock(self.context, folder).await;
            if self.working_copy.is_none() {
                return Err(stopped());
            }
        }
        Ok(())
    }

    /// Returns a note if the scripts ran in another builder image than the one that is final now.
    async fn toolchain_note(&mut self) -> Result<Option<String>, Ended> {
        match self.toolchain_moved().await {
            Ok(note) => Ok(note),
            Err(error) => {
                let error = error.with_engine(&self.context.engine).await;
                Err(failed(error, Phase::Image))
            }
        }
    }

    /// Describes the failure of a step.
    async fn failure(&self, step: &Step, error: StepError) -> Ended {
        let engine = &self.context.on(step.platform()).engine;
        let mut error = error.with_engine(engine).await;
        if matches!(step, Step::Script(_) | Step::Plugin(_)) {
            error = self.scripts.explain(error).await;
            if let Some(platform) = self.scripts.platform() {
                error = error.hint(format!("it ran for {platform}"));
            }
        }
        let command = self.reproduce(step).await;
        let mut failed = error.in_phase(step.phase(), command);
        failed.image = step.other_image().map(ToString::to_string);
        failed.platform = self.scripts.platform().cloned();
        Box::new(UnitSummary::failed(failed))
    }
}

fn failed(error: StepError, phase: Phase) -> Ended {
    Box::new(UnitSummary::failed(error.in_phase(phase, None)))
}

fn stopped() -> Ended {
    Box::new(UnitSummary::new(Outcome::Stopped))
}

fn halted(halt: Halt) -> Ended {
    match halt {
        Halt::Cancelled => stopped(),
        Halt::Blocked(needed) => Box::new(UnitSummary::blocked(needed)),
    }
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
