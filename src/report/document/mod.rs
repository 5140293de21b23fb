//! A run as a document: a page to read, or JUnit's XML for CI.

mod escape;
mod junit;
mod page;
mod standing;

use crate::record::{RunRecord, UnitDocument, UnitRecord};
use crate::runs::Run;
use crate::timeline::{History, Timeline};
use standing::Standing;

pub use standing::RunState;

/// What every page begins with, and nothing else does: a file that does not is not written over.
pub const HTML_START: &str = "<!doctype html>\n<!-- Made by `xp report` -->\n";

/// What every JUnit's XML of a run begins with, and nothing else does.
pub const JUNIT_START: &str =
    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!-- Made by `xp report` -->\n";

/// What a document of a run is made from.
pub struct RunReport<'a> {
    run: &'a Run,
    record: &'a RunRecord,
    state: RunState,
    timeline: Timeline,
    history: History,
    units: Vec<ReportedUnit<'a>>,
}

/// A unit of the run: what was planned, and what came of it.
struct ReportedUnit<'a> {
    name: &'a str,
    plan: Option<&'a UnitDocument>,
    work: Option<&'a UnitRecord>,
    standing: Standing,
}

impl<'a> RunReport<'a> {
    /// Returns the report of a run; `now` is the time since it began where it is under way, and `earlier`
    /// are the runs before it, the oldest first.
    pub fn new(
        run: &'a Run,
        record: &'a RunRecord,
        now: Option<f64>,
        earlier: &[RunRecord],
    ) -> Self {
        let state = RunState::new(record, now.is_some());
        Self {
            run,
            record,
            state,
            timeline: Timeline::new(record, now.unwrap_or(0.0)),
            history: History::new(earlier),
            units: units(record, state),
        }
    }

    /// Returns the page: HTML that needs nothing but itself.
    pub fn html(&self) -> String {
        page::page(self)
    }

    /// Returns JUnit's XML: a suite for each unit, a case for each phase.
    pub fn junit(&self) -> String {
        junit::junit(self)
    }

    /// Returns the last line's time of a unit's work.
    fn end(&self, unit: &UnitRecord) -> f64 {
        unit.end.unwrap_or(self.timeline.end)
    }
}

/// Returns the units in the order of the plan, and then those that it does not name.
fn units(record: &RunRecord, state: RunState) -> Vec<ReportedUnit<'_>> {
    let mut worked: std::collections::HashMap<&str, &UnitRecord> = record
        .units
        .iter()
        .map(|unit| (unit.name.as_str(), unit))
        .collect();
    let planned = record.plan.iter().flat_map(|plan| &plan.units);
    let mut units: Vec<ReportedUnit<'_>> = planned
        .map(|plan| {
            let work = worked.remove(plan.name.as_str());
            ReportedUnit {
                name: &plan.name,
                plan: Some(plan),
                work,
                standing: Standing::new(Some(plan), work, state),
            }
        })
        .collect();
    let others = record
        .units
        .iter()
        .filter(|unit| worked.contains_key(unit.name.as_str()));
    units.extend(others.map(|work| ReportedUnit {
        name: &work.name,
        plan: None,
        work: Some(work),
        standing: Standing::new(None, Some(work), state),
    }));
    units
}

impl ReportedUnit<'_> {
    /// Returns why this was done with the unit, or what kept it from being done.
    fn why(&self) -> String {
        let planned = self.plan.map_or("", |plan| plan.reason.as_str());
        match (self.standing, self.work) {
            (Standing::Blocked, Some(work)) => {
                let needed = work.blocked_by.as_deref().unwrap_or("what it needs");
                format!("needs {needed}, which failed")
            }
            (Standing::Failed, Some(work)) => {
                let phase = work.failure.as_ref().map(|it| it.phase.as_str());
                let failed = format!("{} failed", phase.unwrap_or("a step"));
                match planned {
                    "" => failed,
                    _ => format!("{failed}; built because: {planned}"),
                }
            }
            (_, Some(work)) if self.plan.is_none() => {
                let titles = work.steps.iter().map(|step| step.title.as_str());
                titles.collect::<Vec<_>>().join(", ")
            }
            _ => planned.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests;
