//! Reports of a run: an HTML page, Markdown, JUnit XML for CI, or an OpenTelemetry trace.

mod escape;
mod junit;
mod markdown;
mod otlp;
mod page;
mod status_text;
mod test_cases;

use crate::model::record::{RunRecord, UnitDocument, UnitRecord};
use crate::model::timeline::{RunHistory, Timeline};
use crate::report::document::status_text::UnitStatus;
use crate::store::runs::Run;

#[cfg(any(fuzzing, test))]
pub use self::junit::suite_of_file;
pub use crate::report::document::status_text::RunState;

/// The start of every page. A file without it is not overwritten.
pub const HTML_START: &str = "<!doctype html>\n<!-- Made by `xp report` -->\n";

/// The start of every JUnit XML file. A file without it is not overwritten.
pub const JUNIT_START: &str =
    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!-- Made by `xp report` -->\n";

/// The start of every report in Markdown. A file without it is not overwritten.
pub const MARKDOWN_START: &str = "<!-- Made by `xp report` -->\n\n";
/// The start of every OpenTelemetry trace. A file without it is not overwritten.
pub const OTLP_START: &str = "{\"resourceSpans\":[";

/// The data of a report.
pub struct RunReport<'a> {
    record: &'a RunRecord,
    state: RunState,
    timeline: Timeline,
    history: RunHistory,
    units: Vec<ReportedUnit<'a>>,
}

/// A unit of the run: its plan and its result.
struct ReportedUnit<'a> {
    name: &'a str,
    plan: Option<&'a UnitDocument>,
    work: Option<&'a UnitRecord>,
    status: UnitStatus,
}

impl<'a> RunReport<'a> {
    /// Returns the report of a run. `now` is the time since its start if it is still running, and `earlier`
    /// are the runs before it, oldest first.
    pub fn new(record: &'a RunRecord, now: Option<f64>, earlier: &[RunRecord]) -> Self {
        let state = RunState::new(record, now.is_some());
        Self {
            record,
            state,
            timeline: Timeline::new(record, now.unwrap_or(0.0)),
            history: RunHistory::new(earlier),
            units: units(record, state),
        }
    }

    /// Returns the page with the logs of the run: self-contained HTML.
    pub fn html(&self, run: &Run) -> String {
        page::page(self, run)
    }

    /// Returns Markdown of at most `limit` bytes; empty if the limit is too small for anything.
    pub fn markdown(&self, limit: usize) -> String {
        markdown::markdown_report(self, limit)
    }

    /// Returns the result in one line, such as `2 built, 1 failed, 5 up to date in 1m36s`.
    pub fn result(&self) -> String {
        markdown::result(self)
    }

    /// Returns JUnit XML: a suite per unit, with the test cases of its scripts, or else a case per phase.
    pub fn junit(&self, run: &Run) -> String {
        junit::junit(self, run)
    }

    /// Returns an OpenTelemetry trace, as JSON: a span per unit and step.
    pub fn otlp(&self) -> String {
        otlp::otlp(self)
    }

    /// Returns the name of the manifest, without its folder, as in `x-platform.yml:53`.
    fn manifest_name(&self) -> &str {
        let name = self.record.manifest.rsplit('/').next();
        name.unwrap_or(&self.record.manifest)
    }

    /// Returns when a unit's work ended, or the last known time.
    fn end(&self, unit: &UnitRecord) -> f64 {
        unit.end.unwrap_or(self.timeline.end)
    }
}

/// Returns the units in the order of the plan, then any others.
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
                status: UnitStatus::new(Some(plan), work, state),
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
        status: UnitStatus::new(None, Some(work), state),
    }));
    units
}

impl ReportedUnit<'_> {
    /// Returns the failed unit that it needs.
    fn blocked_by(&self) -> Option<&str> {
        self.work?.blocked_by.as_deref()
    }

    /// Returns why the unit was built, skipped or not started.
    fn why(&self) -> String {
        let planned = self.plan.map_or("", |plan| plan.reason.as_str());
        if let Some(needed) = self.blocked_by() {
            return format!("needs {needed}, which failed");
        }
        match (self.status, self.work) {
            (UnitStatus::Failed, Some(work)) => {
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
