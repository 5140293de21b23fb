//! The turn of a unit: the waits before its steps, and what the steps occupy.

use std::time::{Duration, Instant};

use super::ExecuteContext;
use super::limit::{Limit, Permit};
use super::milestones::Milestones;
use crate::model::event::{Event, Unit};
use crate::model::plan::{Milestone, Occupied, UnitPlan, UsableFrom, Wait};

/// How many working copies are fetched at once; the git client also limits connections per host.
const FETCHES: usize = 16;

/// How many images are pushed or pulled at once. The engine sends five layers at once by default: the layers of more
/// images would wait there, and look stalled.
const TRANSFERS: usize = 5;

/// What the units of a run share.
pub struct Turns {
    pub milestones: Milestones,
    jobs: Limit,
    fetches: Limit,
    transfers: Limit,
}

impl Turns {
    pub fn new(units: impl Iterator<Item = Unit>, jobs: usize) -> Self {
        Self {
            milestones: Milestones::new(units),
            jobs: Limit::new(jobs),
            fetches: Limit::new(FETCHES.max(jobs)),
            transfers: Limit::new(TRANSFERS.max(jobs)),
        }
    }

    fn limit(&self, occupied: Occupied) -> Option<&Limit> {
        match occupied {
            Occupied::Job => Some(&self.jobs),
            Occupied::Fetch => Some(&self.fetches),
            Occupied::Transfer => Some(&self.transfers),
            Occupied::Nothing => None,
        }
    }
}

/// Why a unit does not go on.
#[derive(Debug, PartialEq, Eq)]
pub enum Halt {
    Cancelled,
    /// A unit that it needs failed.
    Blocked(Unit),
}

/// The turn of one unit.
pub struct Turn<'a> {
    context: &'a ExecuteContext,
    turns: &'a Turns,
    plan: &'a UnitPlan,
    /// The unit's position in the plan.
    position: usize,
    held: Option<(Occupied, Permit)>,
    started: Option<Instant>,
    /// The total time of waits since the start.
    waited: Duration,
}

impl<'a> Turn<'a> {
    pub fn new(
        context: &'a ExecuteContext,
        turns: &'a Turns,
        plan: &'a UnitPlan,
        position: usize,
    ) -> Self {
        Self {
            context,
            turns,
            plan,
            position,
            held: None,
            started: None,
            waited: Duration::ZERO,
        }
    }

    /// Waits until a step may start, and returns how long that took. Before the first step, emits
    /// [`Event::UnitStarted`].
    pub async fn enter(&mut self, step: usize) -> Result<Duration, Halt> {
        let begin = Instant::now();
        if let UsableFrom::Steps(steps) = self.plan.usable_from()
            && step >= steps
        {
            self.reach(Milestone::Usable);
        }
        tokio::select! {
            biased;
            () = self.context.cancel.cancelled() => return Err(Halt::Cancelled),
            entered = self.wait(step) => entered?,
        }
        let waited = begin.elapsed();
        if self.started.is_some() {
            self.waited += waited;
        } else {
            self.started = Some(Instant::now());
            let unit = self.plan.unit.clone();
            self.context.events.emit(Event::UnitStarted { unit });
        }
        Ok(waited)
    }

    async fn wait(&mut self, step: usize) -> Result<(), Halt> {
        let milestones = &self.turns.milestones;
        // A failure is final: the steps until the one that would wait for the unit are of no use.
        let later = step..self.plan.first_steps().len();
        let later: Vec<_> = later.flat_map(|step| self.plan.waits(step)).collect();
        if let Some(failed) = milestones.failed(&later) {
            return Err(Halt::Blocked(failed));
        }
        let waits = self.plan.waits(step);
        let missing = milestones.missing(&waits);
        if !missing.is_empty() {
            // Others can use it in the meantime.
            self.held = None;
            self.emit_waiting(step, missing);
            milestones.wait(&waits).await.map_err(Halt::Blocked)?;
        }
        let occupied = self.plan.occupies(step);
        if self
            .held
            .as_ref()
            .is_some_and(|(held, _)| *held == occupied)
        {
            return Ok(());
        }
        self.held = None;
        if let Some(limit) = self.turns.limit(occupied) {
            let permit = match limit.try_acquire() {
                Some(permit) => permit,
                None => {
                    self.emit_waiting(step, Vec::new());
                    limit.acquire(self.position).await
                }
            };
            self.held = Some((occupied, permit));
        }
        Ok(())
    }

    fn emit_waiting(&self, step: usize, needs: Vec<Unit>) {
        self.context.events.emit(Event::UnitWaiting {
            unit: self.plan.unit.clone(),
            phase: self.plan.phase_of(step),
            needs,
        });
    }

    /// Records that the unit has reached a milestone.
    pub fn reach(&self, milestone: Milestone) {
        self.turns.milestones.reach(&self.plan.unit, milestone);
    }

    /// Returns whether others can use the image of a unit of this run.
    pub fn is_usable(&self, unit: &Unit) -> bool {
        let wait = Wait {
            unit: unit.clone(),
            milestone: Milestone::Usable,
        };
        self.turns.milestones.is_reached(&wait)
    }

    /// Returns whether any step was started.
    pub fn is_started(&self) -> bool {
        self.started.is_some()
    }

    /// Returns how long the unit has worked, without waits.
    pub fn worked(&self) -> Duration {
        let since = self.started.map_or(Duration::ZERO, |it| it.elapsed());
        since.saturating_sub(self.waited)
    }
}
