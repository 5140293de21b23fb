//! Runs the steps of one unit in order.

mod runner;
mod sequence;

use time::OffsetDateTime;

use super::remote::WantedFiles;
use super::state::{Published, UnitState};
use super::turn::Turn;
use super::{ExecuteContext, fleet, in_place, platforms, results, secrets};
use crate::model::event::{Event, ImageResult, Outcome, Phase, UnitSummary};
use crate::model::fleet::UnitEnd;
use crate::model::plan::{Step, UnitPlan};
use runner::UnitRunner;

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
    turn: Option<&mut Turn<'_>>,
) -> UnitSummary {
    let checked = secrets::check(context, steps).and_then(|()| platforms::check(context, steps));
    if let Err(error) = checked {
        return UnitSummary::failed(error.in_phase(Phase::Image, None));
    }
    let mut runner = UnitRunner::new(context, plan, state);
    let mut ended = match runner.run_all(steps, turn).await {
        Ok(()) => UnitSummary::new(Outcome::Done),
        Err(ended) => *ended,
    };
    let is_done = ended.outcome == Outcome::Done;
    if let Err(error) = runner.end_container(WantedFiles::None, is_done).await {
        let failed = error.in_phase(Phase::Container, None);
        if is_done {
            ended = UnitSummary::failed(failed);
        } else {
            // An earlier failure is the outcome; this one is only a warning.
            let hints: String = failed.hints.iter().map(|it| format!("; {it}")).collect();
            let text = format!("{}: {}{hints}", plan.unit, failed.message);
            context.events.emit(Event::warning(text));
        }
    }
    ended.restored = std::mem::take(&mut runner.state.restored);
    ended.only_fetched = steps[..runner.position].iter().all(Step::fetches_source);
    if let (Outcome::Done, Some(folder)) = (ended.outcome, &plan.in_place) {
        in_place::compare(context, &plan.unit, folder).await;
    }
    ended
}
