//! Runs units in dependency order, a limited number concurrently.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::ExecuteContext;
use super::state::Published;
use super::unit::{run_held, run_unit};
use crate::model::event::{Event, Outcome, Unit, UnitSummary};
use crate::model::plan::{Plan, UnitPlan};

/// Runs every unit of a plan as soon as its dependencies are done.
///
/// A failed unit stops only its dependents, unless `--fail-fast` is set. Every unit with steps emits one
/// [`Event::UnitFinished`].
pub async fn run(context: Arc<ExecuteContext>, plan: &Plan) {
    let mut waiting: BTreeMap<Unit, UnitPlan> = plan
        .work()
        .map(|unit| (unit.unit.clone(), unit.clone()))
        .collect();
    // If several can start, the order of the plan decides, which is stable.
    let order: Vec<Unit> = plan.work().map(|unit| unit.unit.clone()).collect();
    context.events.emit(Event::WorkStarted {
        units: order.clone(),
        jobs: context.jobs,
    });
    let mut done: BTreeSet<Unit> = BTreeSet::new();
    let mut failed: BTreeSet<Unit> = BTreeSet::new();
    let mut running = JoinSet::new();
    let mut held = Vec::new();
    loop {
        block(&context, &order, &mut waiting, &mut failed);
        for unit in &order {
            if running.len() >= context.jobs || context.cancel.is_cancelled() {
                break;
            }
            let is_ready = waiting
                .get(unit)
                .is_some_and(|plan| plan.after.iter().all(|needed| done.contains(needed)));
            if is_ready && let Some(unit_plan) = waiting.remove(unit) {
                let context = context.clone();
                running.spawn(async move { start(&context, unit_plan).await });
            }
        }
        match running.join_next().await {
            None => break,
            Some(Ok(result)) if result.outcome == Outcome::Done => {
                held.extend(result.held);
                done.insert(result.unit);
            }
            Some(Ok(UnitResult { unit, outcome, .. })) => {
                if context.fail_fast && outcome == Outcome::Failed {
                    context.cancel.cancel();
                }
                failed.insert(unit);
            }
            // A panic is a bug in xp, not a failed build: propagate it.
            Some(Err(error)) => {
                if let Ok(panic) = error.try_into_panic() {
                    std::panic::resume_unwind(panic);
                }
            }
        }
    }
    let is_complete = failed.is_empty() && waiting.is_empty() && !context.cancel.is_cancelled();
    for HeldUnit {
        plan,
        published,
        elapsed,
    } in held
    {
        // An incomplete run moves no tags; the built images stay.
        let ended = if is_complete {
            run_held(&context, &plan, published).await
        } else {
            UnitSummary::new(Outcome::Done)
        };
        finish(&context, plan.unit, UnitSummary { elapsed, ..ended });
    }
    // Interrupted before these were started.
    for unit in order.into_iter().filter(|unit| waiting.contains_key(unit)) {
        finish(&context, unit, UnitSummary::new(Outcome::Stopped));
    }
}

/// Ends the units that depend on a failed one, directly or indirectly.
fn block(
    context: &ExecuteContext,
    order: &[Unit],
    waiting: &mut BTreeMap<Unit, UnitPlan>,
    failed: &mut BTreeSet<Unit>,
) {
    if context.cancel.is_cancelled() {
        return;
    }
    for unit in order {
        let Some(plan) = waiting.get(unit) else {
            continue;
        };
        let Some(needed) = plan
            .after
            .iter()
            .find(|needed| failed.contains(*needed))
            .cloned()
        else {
            continue;
        };
        waiting.remove(unit);
        failed.insert(unit.clone());
        finish(context, unit.clone(), UnitSummary::blocked(needed));
    }
}

/// The result of a unit.
struct UnitResult {
    unit: Unit,
    outcome: Outcome,
    /// Set if it has steps that wait for all other units.
    held: Option<HeldUnit>,
}

/// A unit whose remaining steps wait for all other units.
struct HeldUnit {
    plan: UnitPlan,
    published: Option<Published>,
    elapsed: Duration,
}

async fn start(context: &ExecuteContext, plan: UnitPlan) -> UnitResult {
    let start = Instant::now();
    let unit = plan.unit.clone();
    context
        .events
        .emit(Event::UnitStarted { unit: unit.clone() });
    let (ended, published) = run_unit(context, &plan).await;
    let elapsed = start.elapsed();
    let outcome = ended.outcome;
    let held = (outcome == Outcome::Done && plan.held > 0).then_some(HeldUnit {
        plan,
        published,
        elapsed,
    });
    if held.is_none() {
        finish(context, unit.clone(), UnitSummary { elapsed, ..ended });
    }
    UnitResult {
        unit,
        outcome,
        held,
    }
}

fn finish(context: &ExecuteContext, unit: Unit, ended: UnitSummary) {
    context.events.emit(Event::UnitFinished { unit, ended });
}
