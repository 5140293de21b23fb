//! Units in the order of their needs, so many at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::Context;
use super::state::Published;
use super::unit::{run_held, run_unit};
use crate::event::{Event, Outcome, Unit};
use crate::plan::{Plan, UnitPlan};

/// Works on every unit of a plan as soon as those that it needs are done.
///
/// A unit that fails stops only those that need it, unless `--fail-fast` was given. Every unit that has
/// steps ends with one [`Event::UnitFinished`].
pub async fn run(context: Arc<Context>, plan: &Plan) {
    let mut waiting: BTreeMap<Unit, UnitPlan> = plan
        .work()
        .map(|unit| (unit.unit.clone(), unit.clone()))
        .collect();
    // In the order of the plan, which is stable, where several could start.
    let order: Vec<Unit> = plan.work().map(|unit| unit.unit.clone()).collect();
    context.events.emit(Event::RunStarted {
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
                running.spawn(async move { work(&context, unit_plan).await });
            }
        }
        match running.join_next().await {
            None => break,
            Some(Ok(Worked {
                unit,
                outcome: Outcome::Done,
                held: waits,
            })) => {
                held.extend(waits);
                done.insert(unit);
            }
            Some(Ok(Worked { unit, outcome, .. })) => {
                if context.fail_fast && matches!(outcome, Outcome::Failed(_)) {
                    context.cancel.cancel();
                }
                failed.insert(unit);
            }
            // A panic is a mistake in xp: it goes on its way, and is not taken for a failed build.
            Some(Err(error)) => {
                if let Ok(panic) = error.try_into_panic() {
                    std::panic::resume_unwind(panic);
                }
            }
        }
    }
    let may_go_on = failed.is_empty() && waiting.is_empty() && !context.cancel.is_cancelled();
    for Held {
        plan,
        published,
        elapsed,
    } in held
    {
        // A whole that is not complete moves no tag; what was built stays built.
        let outcome = match may_go_on {
            true => run_held(&context, &plan, published).await,
            false => Outcome::Done,
        };
        finish(&context, plan.unit, outcome, elapsed);
    }
    // Interrupted: nothing of these was begun.
    for unit in order.into_iter().filter(|unit| waiting.contains_key(unit)) {
        finish(&context, unit, Outcome::Stopped, Duration::ZERO);
    }
}

/// Ends the units that wait for one that failed, and those that wait for them.
fn block(
    context: &Context,
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
        finish(
            context,
            unit.clone(),
            Outcome::Blocked(needed),
            Duration::ZERO,
        );
    }
}

/// How a unit ended.
struct Worked {
    unit: Unit,
    outcome: Outcome,
    /// What waits for all other units.
    held: Option<Held>,
}

/// A unit of which steps wait for all other units; the others are done.
struct Held {
    plan: UnitPlan,
    published: Option<Published>,
    elapsed: Duration,
}

async fn work(context: &Context, plan: UnitPlan) -> Worked {
    let start = Instant::now();
    let unit = plan.unit.clone();
    context
        .events
        .emit(Event::UnitStarted { unit: unit.clone() });
    let (outcome, published) = run_unit(context, &plan).await;
    let elapsed = start.elapsed();
    let held = (outcome == Outcome::Done && plan.held > 0).then_some(Held {
        plan,
        published,
        elapsed,
    });
    if held.is_none() {
        finish(context, unit.clone(), outcome.clone(), elapsed);
    }
    Worked {
        unit,
        outcome,
        held,
    }
}

fn finish(context: &Context, unit: Unit, outcome: Outcome, elapsed: Duration) {
    context.events.emit(Event::UnitFinished {
        unit,
        outcome,
        elapsed,
    });
}
