//! Units in the order of their needs, so many at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::Context;
use super::unit::run_unit;
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
                running.spawn(async move { work(&context, &unit_plan).await });
            }
        }
        match running.join_next().await {
            None => break,
            Some(Ok((unit, Outcome::Done))) => {
                done.insert(unit);
            }
            Some(Ok((unit, outcome))) => {
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

async fn work(context: &Context, plan: &UnitPlan) -> (Unit, Outcome) {
    let start = Instant::now();
    context.events.emit(Event::UnitStarted {
        unit: plan.unit.clone(),
    });
    let outcome = run_unit(context, plan).await;
    finish(context, plan.unit.clone(), outcome.clone(), start.elapsed());
    (plan.unit.clone(), outcome)
}

fn finish(context: &Context, unit: Unit, outcome: Outcome, elapsed: Duration) {
    context.events.emit(Event::UnitFinished {
        unit,
        outcome,
        elapsed,
    });
}
