//! Runs units concurrently; each step starts when what it waits for is there.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::ExecuteContext;
use super::state::Published;
use super::turn::{Turn, Turns};
use super::unit::{run_held, run_unit};
use crate::model::event::{Event, Outcome, Unit, UnitSummary};
use crate::model::plan::{Milestone, Plan, UnitPlan};

/// Runs every unit of a plan. What a step waits for is decided by the plan.
///
/// A failed unit stops only its dependents, unless `--fail-fast` is set. Every unit with steps emits one
/// [`Event::UnitFinished`].
pub async fn run(context: Arc<ExecuteContext>, plan: &Plan) {
    let units = || plan.work().map(|unit| unit.unit.clone());
    context.events.emit(Event::WorkStarted {
        units: units().collect(),
        jobs: context.jobs,
    });
    let turns = Arc::new(Turns::new(units(), context.jobs));
    let mut running = JoinSet::new();
    for (position, unit_plan) in plan.work().enumerate() {
        let (context, turns) = (Arc::clone(&context), Arc::clone(&turns));
        let unit_plan = unit_plan.clone();
        running.spawn(async move { start(&context, &turns, unit_plan, position).await });
    }
    let (mut held, mut not_started) = (Vec::new(), Vec::new());
    let mut is_complete = true;
    while let Some(result) = running.join_next().await {
        match result {
            Ok(UnitEnd::Done) => {}
            Ok(UnitEnd::Held(unit)) => held.push(unit),
            Ok(UnitEnd::NotDone) => is_complete = false,
            Ok(UnitEnd::NotStarted { position, unit }) => not_started.push((position, unit)),
            // A panic is a bug in xp, not a failed build: propagate it.
            Err(error) => {
                if let Ok(panic) = error.try_into_panic() {
                    std::panic::resume_unwind(panic);
                }
            }
        }
    }
    is_complete &= not_started.is_empty() && !context.cancel.is_cancelled();
    held.sort_by_key(|unit| unit.position);
    for unit in held {
        // An incomplete run moves no tags; the built images stay.
        let (elapsed, ended) = (unit.ended.elapsed, unit.ended);
        let ended = if is_complete {
            run_held(&context, &unit.plan, unit.published, ended.image).await
        } else {
            ended
        };
        finish(&context, unit.plan.unit, UnitSummary { elapsed, ..ended });
    }
    context.uploads.finish(&context).await;
    // In the order of the plan, which is stable.
    not_started.sort();
    for (_, unit) in not_started {
        finish(&context, unit, UnitSummary::new(Outcome::Stopped));
    }
}

/// The end of a unit's steps, except held ones.
enum UnitEnd {
    Done,
    /// It has steps that wait for all other units.
    Held(Box<HeldUnit>),
    /// It failed or was stopped.
    NotDone,
    /// Interrupted before its first step.
    NotStarted {
        position: usize,
        unit: Unit,
    },
}

/// A unit whose remaining steps wait for all other units.
struct HeldUnit {
    plan: UnitPlan,
    position: usize,
    published: Option<Published>,
    /// The result of the steps so far.
    ended: UnitSummary,
}

async fn start(
    context: &ExecuteContext,
    turns: &Turns,
    plan: UnitPlan,
    position: usize,
) -> UnitEnd {
    let mut turn = Turn::new(context, turns, &plan, position);
    let (ended, published) = run_unit(context, &plan, &mut turn).await;
    let is_started = turn.is_started();
    let ended = UnitSummary {
        elapsed: turn.worked(),
        ..ended
    };
    // What it occupied is free from now on.
    drop(turn);
    let unit = plan.unit.clone();
    let outcome = ended.outcome;
    if context.fail_fast && outcome == Outcome::Failed {
        context.cancel.cancel();
    }
    if outcome == Outcome::Done && plan.held > 0 {
        turns.milestones.reach(&unit, Milestone::Final);
        return UnitEnd::Held(Box::new(HeldUnit {
            plan,
            position,
            published,
            ended,
        }));
    }
    if outcome == Outcome::Stopped && !is_started {
        turns.milestones.fail(&unit);
        return UnitEnd::NotStarted { position, unit };
    }
    finish(context, unit.clone(), ended);
    // Afterwards, so that a failure is reported before the units that it blocks.
    if outcome == Outcome::Done {
        turns.milestones.reach(&unit, Milestone::Final);
        UnitEnd::Done
    } else {
        turns.milestones.fail(&unit);
        UnitEnd::NotDone
    }
}

fn finish(context: &ExecuteContext, unit: Unit, ended: UnitSummary) {
    context.events.emit(Event::UnitFinished { unit, ended });
}
