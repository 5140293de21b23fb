//! When the units of a run were worked on, what its end waited for, and how long each took before.
//!
//! Pure: everything is taken from the records of runs. Times are seconds from the beginning of the run.

mod history;
mod path;

use std::collections::HashMap;

pub use history::{Comparison, History, median};
pub use path::{Cause, Link};

use crate::record::{OutcomeDocument, RunRecord, UnitRecord};

/// When each unit of a run could be worked on, and was.
///
/// A unit is *ready* when all that it needs are done. Then it waits until one of the jobs (`--jobs`) is
/// free. What it needs is taken from the plan; the units of a run without a plan, such as of `xp sync`, need
/// nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct Timeline {
    /// When the run ended; of one that was killed or goes on, the last that is known of.
    pub end: f64,
    /// When the work on units began; the end where there was none.
    pub work_start: f64,
    /// The units that were worked on, in the order of their beginning.
    pub spans: Vec<Span>,
    /// The critical path, from the first unit to the one that ended last. See [`Link`].
    pub path: Vec<Link>,
    /// How many units may be worked on at once, where that is known.
    pub jobs: Option<usize>,
    longest_chain: f64,
}

/// When a unit was worked on.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    /// The unit's name.
    pub unit: String,
    /// When all that it needs was done.
    pub ready: f64,
    /// When the work on it began.
    pub start: f64,
    /// When it ended.
    pub end: f64,
    /// The units that it needs and that were worked on in this run, by their place in the timeline.
    pub after: Vec<usize>,
}

impl Span {
    /// Returns how long it was worked on.
    pub fn seconds(&self) -> f64 {
        self.end - self.start
    }

    /// Returns how long it waited for a free job.
    pub fn waited(&self) -> f64 {
        (self.start - self.ready).max(0.0)
    }
}

impl Timeline {
    /// Returns the timeline of a run up to a time, which may be later than its last line.
    pub fn new(run: &RunRecord, now: f64) -> Self {
        let end = run.seconds.max(now);
        let work_start = run.work_start.unwrap_or(end);
        let worked: Vec<&UnitRecord> = run.units.iter().filter(|unit| was_begun(unit)).collect();
        let places: HashMap<&str, usize> = worked
            .iter()
            .enumerate()
            .map(|(place, unit)| (unit.name.as_str(), place))
            .collect();
        let planned: HashMap<&str, &[String]> = run
            .plan
            .iter()
            .flat_map(|plan| &plan.units)
            .map(|unit| (unit.name.as_str(), unit.after.as_slice()))
            .collect();
        let mut spans: Vec<Span> = worked
            .iter()
            .map(|unit| {
                let needed = planned.get(unit.name.as_str()).copied().unwrap_or_default();
                Span {
                    unit: unit.name.clone(),
                    ready: work_start,
                    start: unit.start,
                    end: unit.end.unwrap_or(end),
                    after: needed
                        .iter()
                        .filter_map(|name| places.get(name.as_str()).copied())
                        .collect(),
                }
            })
            .collect();
        for place in 0..spans.len() {
            let needed = spans[place].after.iter().map(|needed| spans[*needed].end);
            spans[place].ready = needed.fold(work_start, f64::max).min(spans[place].start);
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

    /// Returns the span of a unit, where it was worked on.
    pub fn span(&self, unit: &str) -> Option<&Span> {
        self.spans.iter().find(|span| span.unit == unit)
    }

    /// Returns the end of the unit that ended last.
    pub fn work_end(&self) -> f64 {
        let ends = self.spans.iter().map(|span| span.end);
        ends.fold(self.work_start, f64::max)
    }

    /// Returns how many units were worked on at once, on average; none without work.
    pub fn parallelism(&self) -> Option<f64> {
        let busy: f64 = self.spans.iter().map(Span::seconds).sum();
        let time = self.work_end() - self.work_start;
        (time > 0.0).then(|| busy / time)
    }

    /// Returns the least time that the same run could take with any number of jobs: deciding, and the
    /// longest chain of units that need each other, if each took as long as it did.
    ///
    /// With more jobs at once each may take longer, so this is a bound, not a forecast.
    pub fn least(&self) -> f64 {
        self.work_start + self.longest_chain
    }
}

/// Whether a unit had a job: what was blocked or stopped before has an end only.
fn was_begun(unit: &UnitRecord) -> bool {
    !unit.steps.is_empty()
        || !matches!(
            unit.outcome,
            Some(OutcomeDocument::Blocked | OutcomeDocument::Stopped)
        )
}

#[cfg(test)]
mod tests;
