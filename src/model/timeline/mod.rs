//! The timeline of a run: when each unit ran, the critical path, and a comparison with earlier runs.
//!
//! Pure: everything comes from run records. Times are in seconds since the start of the run.

mod history;
mod path;

use std::collections::HashMap;

pub use history::{DurationComparison, RunHistory};
pub use path::{PathLink, StartReason};

use crate::model::event::Outcome;
use crate::model::record::{RunRecord, UnitRecord};

/// When each unit of a run was ready, and when it ran.
///
/// A unit is *ready* when its dependencies are finished. Then it waits for a free job slot (`--jobs`). The dependencies
/// come from the plan; without a plan, as with `xp sync`, units have none.
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
    longest_chain: f64,
}

/// When a unit ran.
#[derive(Debug, Clone, PartialEq)]
pub struct UnitTimes {
    /// The unit's name.
    pub unit: String,
    /// When its dependencies were finished.
    pub ready: f64,
    /// When it started.
    pub start: f64,
    /// When it ended.
    pub end: f64,
    /// The indexes of its dependencies that ran too.
    pub after: Vec<usize>,
}

impl UnitTimes {
    /// Returns how long it ran.
    pub fn seconds(&self) -> f64 {
        self.end - self.start
    }

    /// Returns how long it waited for a free job slot.
    pub fn waited(&self) -> f64 {
        (self.start - self.ready).max(0.0)
    }
}

impl Timeline {
    /// Returns the timeline of a run up to `now`, which may be later than its last event.
    pub fn new(run: &RunRecord, now: f64) -> Self {
        let end = run.seconds.max(now);
        let work_start = run.work_start.unwrap_or(end);
        let worked: Vec<&UnitRecord> = run.units.iter().filter(|unit| was_started(unit)).collect();
        let indexes: HashMap<&str, usize> = worked
            .iter()
            .enumerate()
            .map(|(index, unit)| (unit.name.as_str(), index))
            .collect();
        let planned: HashMap<&str, &[String]> = run
            .plan
            .iter()
            .flat_map(|plan| &plan.units)
            .map(|unit| (unit.name.as_str(), unit.after.as_slice()))
            .collect();
        let mut spans: Vec<UnitTimes> = worked
            .iter()
            .map(|unit| {
                let needed = planned.get(unit.name.as_str()).copied().unwrap_or_default();
                UnitTimes {
                    unit: unit.name.clone(),
                    ready: work_start,
                    start: unit.start,
                    end: unit.end.unwrap_or(end),
                    after: needed
                        .iter()
                        .filter_map(|name| indexes.get(name.as_str()).copied())
                        .collect(),
                }
            })
            .collect();
        for index in 0..spans.len() {
            let needed = spans[index].after.iter().map(|needed| spans[*needed].end);
            spans[index].ready = needed.fold(work_start, f64::max).min(spans[index].start);
        }
        Self {
            end,
            work_start,
            path: path::critical(&spans, run.jobs),
            longest_chain: path::longest_chain(&spans),
            spans,
            jobs: run.jobs,
        }
    }

    /// Returns when the last unit ended.
    pub fn work_end(&self) -> f64 {
        let ends = self.spans.iter().map(|span| span.end);
        ends.fold(self.work_start, f64::max)
    }

    /// Returns the average number of concurrent units; `None` without work.
    pub fn parallelism(&self) -> Option<f64> {
        let busy: f64 = self.spans.iter().map(UnitTimes::seconds).sum();
        let time = self.work_end() - self.work_start;
        (time > 0.0).then(|| busy / time)
    }

    /// Returns the minimum duration of the same run with unlimited jobs: planning plus the longest dependency chain,
    /// with the measured durations.
    ///
    /// Units may take longer with more jobs, so this is a lower bound, not a forecast.
    pub fn lower_bound(&self) -> f64 {
        self.work_start + self.longest_chain
    }
}

/// Returns whether a unit ran. Units that were blocked or stopped before they started only have an end.
fn was_started(unit: &UnitRecord) -> bool {
    !unit.steps.is_empty() || !matches!(unit.outcome, Some(Outcome::Blocked | Outcome::Stopped))
}

#[cfg(test)]
mod tests;
