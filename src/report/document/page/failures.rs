//! The failures of the run.

use std::collections::{BTreeMap, BTreeSet};

use maud::{Markup, html};

use super::{LogEnd, RunReport, log_id, section, shown};
use crate::base::plural::abbreviated;
use crate::model::event::FailedStep;
use crate::report::document::status_text::{RunState, UnitStatus};

/// Names of blocked units shown per failure.
const NAMED: usize = 12;

/// Returns whether anything failed, or the run is incomplete.
pub fn is_needed(report: &RunReport<'_>) -> bool {
    let failed = |unit: &super::ReportedUnit<'_>| unit.status == UnitStatus::Failed;
    report.units.iter().any(failed)
        || report.record.message.is_some()
        || matches!(report.state, RunState::Killed | RunState::Interrupted)
}

/// Returns the failures: message, hints, command and the last lines of the log.
pub fn failures(report: &RunReport<'_>, logs: &[LogEnd]) -> Markup {
    let blocked = blocked(report);
    let content = html! {
        (of_the_run(report))
        @for (index, unit) in report.units.iter().enumerate() {
            @if let Some(failure) = unit.work.and_then(|work| work.failure.as_ref()) {
                @let is_its_log = |log: &LogEnd| log.unit == index && log.phase == failure.phase.as_str();
                @let id = logs.iter().any(is_its_log).then(|| log_id(index, failure.phase.as_str()));
                @let not_started = blocked.get(unit.name).map(Vec::as_slice).unwrap_or_default();
                (one(report, unit.name, failure, id, not_started))
            }
        }
    };
    section("failures", "Failures", None, &content)
}

fn of_the_run(report: &RunReport<'_>) -> Markup {
    let (what, why) = match (report.state, &report.record.message) {
        (_, Some(message)) => ("The run", message.as_str()),
        (RunState::Interrupted, None) => (
            "Interrupted",
            "The run was stopped by Ctrl-C or SIGTERM. Finished work is kept; run the command again to \
             continue.",
        ),
        (RunState::Killed, None) => (
            "Killed",
            "xp was killed, or the machine stopped. Finished work is kept; run the command again to \
             continue.",
        ),
        _ => return Markup::default(),
    };
    html! { article.failure { h3 { (what) } p.message { (why) } } }
}

fn one(
    report: &RunReport<'_>,
    unit: &str,
    failure: &FailedStep,
    log: Option<String>,
    not_started: &[&str],
) -> Markup {
    html! {
        article.failure {
            h3 { (unit) ": " (failure.phase) }
            p.message { (failure.message) }
            ul {
                @for hint in &failure.hints { li { b { "hint" } (hint) } }
                @if let Some(line) = failure.line {
                    li { b { "manifest" } (report.manifest_name()) ":" (line) }
                }
                @if let Some(instruction) = &failure.dockerfile {
                    li { b { "dockerfile" } (instruction.file) ":" (instruction.line) }
                }
                @if !not_started.is_empty() {
                    li {
                        b { "not started" }
                        (abbreviated(not_started, NAMED))
                    }
                }
            }
            @if !failure.tail.is_empty() { pre { (failure.tail.join("\n")) } }
            @if let Some(id) = log {
                p { a href={ "#" (id) } aria-label={ "Log of " (unit) } { "Full log" } }
            } @else if let Some(file) = &failure.log {
                p.soft { (shown(report, file.as_ref())) }
            }
            @if let Some(command) = &failure.reproduce_command {
                details.repeat {
                    summary { "Debug with" }
                    button.script.copy type="button" hidden { "Copy" }
                    code { (command) }
                }
            }
        }
    }
}

/// Returns the units that each failed unit blocks, directly or through other units.
fn blocked<'a>(report: &'a RunReport<'_>) -> BTreeMap<&'a str, Vec<&'a str>> {
    let by: BTreeMap<&str, &str> = report
        .units
        .iter()
        .filter_map(|unit| Some((unit.name, unit.work?.blocked_by.as_deref()?)))
        .collect();
    let mut blocked: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (unit, first) in &by {
        let mut cause = *first;
        let mut seen = BTreeSet::new();
        while let Some(next) = by.get(cause).filter(|_| seen.insert(cause)) {
            cause = next;
        }
        blocked.entry(cause).or_default().push(unit);
    }
    blocked
}
