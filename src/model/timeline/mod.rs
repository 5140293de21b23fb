//! The timeline of a run: when each unit ran, the critical path, and a comparison with earlier runs.
//!
//! Pure: everything comes from run records. Times are in seconds since the start of the run.

mod history;
mod path;
mod stretch;

pub use history::{DurationComparison, RunHistory};
pub use path::{PathLink, StartReason};
use stretch::Stretch;

use crate::model::event::Outcome;
use crate::model::record::{RunRecord, UnitRecord};

/// When each unit of a run was ready, and when it ran.
///
/// A unit is *ready* when everything is there that its first step uses. Then it waits for a free job (`--jobs`). It may
/// wait again before later steps. What steps use comes from the plan; without a plan, as with `xp sync`, they use
/// nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct Timeline {
    /// When the run ended; the last known time if it was killed or is still running.
    pub end: f64,
    /// When the work on units started; the end of the run if there was no work.
    pub work_start: f64,
    /// The units that ran, by start time.
    pub spans: Vec<UnitTimes>,
    /// The critical path, from the first unit to the one that ended last. See [`PathLink`].
    pub path: Vec<PathLink>,
    /// The maximum number of concurrent units, if known.
    pub jobs: Option<usize>,
    /// The total time of steps that took a job.
    busy: f64,
    longest_chain: f64,
}

/// When a unit ran.
#[derive(Debug, Clone, PartialEq)]
pub struct UnitTimes {
    /// The unit's name.
    pub unit: String,
    /// When everything was there that its first step uses.
    pub ready: f64,
    /// When it started.
    pub start: f64,
    /// When it ended.
    pub end: f64,
    /// How long it worked, without waits.
    pub worked: f64,
}

impl Timeline {
    /// Returns the timeline of a run up to `now`, which may be later than its last event.
    pub fn new(run: &RunRecord, now: f64) -> Self {
        let end = run.seconds.max(now);
        let work_start = run.work_start.unwrap_or(end);
        let worked = run.units.iter().filter(|unit| was_started(unit));
        let mut worked: Vec<&UnitRecord> = worked.collect();
        // The first event of a unit may be that of a wait.
        worked.sort_by(|a, b| a.start.total_cmp(&b.start));
        let stretches = stretch::stretches(run, &worked, work_start, end);
        let first = |index: usize| stretches.iter().find(|it| it.unit == index);
        let spans = worked.iter().enumerate().map(|(index, unit)| UnitTimes {
            unit: unit.name.clone(),
            ready: first(index).map_or(unit.start, |it| it.ready),
            start: unit.start,
            end: unit.end.unwrap_or(end),
            worked: unit.worked(end),
        });
        let busy = stretches.iter().filter(|it| it.takes_job);
        Self {
            end,
            work_start,
            spans: spans.collect(),
            path: path::critical(&stretches, run.jobs),
            busy: busy.map(Stretch::seconds).sum(),
            longest_chain: path::longest_chain(&stretches),
            jobs: run.jobs,
        }
    }

    /// Returns when the last unit ended.
    pub fn work_end(&self) -> f64 {
        let ends = self.spans.iter().map(|span| span.end);
        ends.fold(self.work_start, f64::max)
    }

    /// Returns the average number of jobs in use; `None` without work.
    pub fn parallelism(&self) -> Option<f64> {
        let time = self.work_end() - self.work_start;
        (time > 0.0).then(|| self.busy / time)
    }

    /// Returns the minimum duration of the same run with unlimited jobs: planning plus the longest dependency chain,
    /// with the measured durations.
    ///
    /// Units may take longer with more jobs, so this is a lower bound, not a forecast.
    pub fn lower_bound(&self) -> f64 {
        self.work_start + self.longest_chain
    }
}

/// Returns whether a unit ran. Units that were blocked or stopped before they started only have waits and an end.
fn was_started(unit: &UnitRecord) -> bool {
    let is_without_work = matches!(unit.outcome, Some(Outcome::Blocked | Outcome::Stopped));
    !unit.steps.is_empty() || !(is_without_work || unit.is_waiting())
}

#[cfg(test)]
mod tests;
