//! How far each unit of a run has come, for the units that wait for it.

use std::collections::HashMap;

use futures_util::future::try_join_all;
use tokio::sync::watch;

use crate::model::event::Unit;
use crate::model::plan::{Milestone, Wait};

/// How far a unit has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reached {
    Nothing,
    Milestone(Milestone),
    /// It ended without being final.
    Failed,
}

/// How far each unit of a run has come.
pub struct Milestones(HashMap<Unit, watch::Sender<Reached>>);

impl Milestones {
    /// Returns the milestones of units that have not started.
    pub fn new(units: impl Iterator<Item = Unit>) -> Self {
        let units = units.map(|unit| (unit, watch::Sender::new(Reached::Nothing)));
        Self(units.collect())
    }

    /// Records that a unit has reached a milestone.
    pub fn reach(&self, unit: &Unit, milestone: Milestone) {
        self.set(unit, |reached| match reached {
            Reached::Nothing => Some(Reached::Milestone(milestone)),
            Reached::Milestone(earlier) if earlier < milestone => {
                Some(Reached::Milestone(milestone))
            }
            Reached::Milestone(_) | Reached::Failed => None,
        });
    }

    /// Records that a unit has ended without being final.
    pub fn fail(&self, unit: &Unit) {
        self.set(unit, |_| Some(Reached::Failed));
    }

    /// Returns the first unit that has failed.
    pub fn failed<'w>(&self, waits: impl IntoIterator<Item = &'w Wait>) -> Option<Unit> {
        let mut waits = waits.into_iter();
        let failed = waits.find(|wait| self.reached(&wait.unit) == Some(Reached::Failed));
        failed.map(|wait| wait.unit.clone())
    }

    /// Returns whether a unit of the run has reached a milestone.
    pub fn is_reached(&self, wait: &Wait) -> bool {
        self.reached(&wait.unit).is_some_and(|it| has(it, wait))
    }

    /// Returns the units that have not reached the milestones.
    pub fn missing(&self, waits: &[Wait]) -> Vec<Unit> {
        let waits = waits.iter();
        let missing =
            waits.filter(|wait| self.reached(&wait.unit).is_some_and(|it| !has(it, wait)));
        missing.map(|wait| wait.unit.clone()).collect()
    }

    /// Waits until all milestones are reached. Returns the unit that failed, if one did.
    pub async fn wait(&self, waits: &[Wait]) -> Result<(), Unit> {
        let each = waits.iter().map(async |wait| {
            let Some(sender) = self.0.get(&wait.unit) else {
                return Ok(());
            };
            let mut receiver = sender.subscribe();
            let ended = receiver
                .wait_for(|reached| *reached == Reached::Failed || has(*reached, wait))
                .await;
            match ended.as_deref() {
                Ok(Reached::Failed) => Err(wait.unit.clone()),
                _ => Ok(()),
            }
        });
        try_join_all(each).await.map(|_| ())
    }

    fn reached(&self, unit: &Unit) -> Option<Reached> {
        Some(*self.0.get(unit)?.borrow())
    }

    fn set(&self, unit: &Unit, next: impl Fn(Reached) -> Option<Reached>) {
        if let Some(sender) = self.0.get(unit) {
            sender.send_if_modified(|reached| match next(*reached) {
                Some(next) => {
                    *reached = next;
                    true
                }
                None => false,
            });
        }
    }
}

fn has(reached: Reached, wait: &Wait) -> bool {
    matches!(reached, Reached::Milestone(reached) if reached >= wait.milestone)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn unit(name: &str) -> Unit {
        Unit::Service(name.parse().unwrap())
    }

    fn wait(name: &str, milestone: Milestone) -> Wait {
        Wait {
            unit: unit(name),
            milestone,
        }
    }

    #[test]
    fn a_later_milestone_includes_the_earlier_one() {
        let milestones = Milestones::new(["a", "b"].map(unit).into_iter());
        let waits = [
            wait("a", Milestone::Usable),
            wait("b", Milestone::Final),
            wait("elsewhere", Milestone::Final),
        ];
        assert_eq!(milestones.missing(&waits), [unit("a"), unit("b")]);
        let mut waiting = Box::pin(milestones.wait(&waits));
        assert!(waiting.as_mut().now_or_never().is_none());
        milestones.reach(&unit("b"), Milestone::Usable);
        milestones.reach(&unit("a"), Milestone::Final);
        milestones.reach(&unit("a"), Milestone::Usable);
        assert!(waiting.as_mut().now_or_never().is_none());
        assert_eq!(milestones.missing(&waits), [unit("b")]);
        milestones.reach(&unit("b"), Milestone::Final);
        assert_eq!(waiting.now_or_never(), Some(Ok(())));
        assert_eq!(milestones.failed(&waits), None);
    }

    #[test]
    fn a_failure_ends_the_wait_even_after_a_milestone() {
        let milestones = Milestones::new(["a", "b"].map(unit).into_iter());
        let waits = [wait("a", Milestone::Final), wait("b", Milestone::Final)];
        let mut waiting = Box::pin(milestones.wait(&waits));
        assert!(waiting.as_mut().now_or_never().is_none());
        milestones.reach(&unit("b"), Milestone::Usable);
        milestones.fail(&unit("b"));
        assert_eq!(waiting.now_or_never(), Some(Err(unit("b"))));
        assert_eq!(milestones.failed(&waits), Some(unit("b")));
        milestones.reach(&unit("b"), Milestone::Final);
        assert_eq!(milestones.failed(&waits), Some(unit("b")));
    }
}
