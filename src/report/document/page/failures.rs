//! The failures of the run.

use std::collections::{BTreeMap, BTreeSet};

use super::{Escaped, LogEnd, OnOneLine, RunReport, log_id, put, shown};
use crate::model::record::FailureDocument;
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

/// Appends the failures: message, hints, command and the last lines of the log.
pub fn failures(html: &mut String, report: &RunReport<'_>, logs: &[LogEnd]) {
    if !is_needed(report) {
        return;
    }
    html.push_str(
        "<section id=\"failures\" aria-labelledby=\"h-failures\"><h2 id=\"h-failures\">Failures</h2>\n",
    );
    of_the_run(html, report);
    let blocked = blocked(report);
    for (index, unit) in report.units.iter().enumerate() {
        if let Some(failure) = unit.work.and_then(|work| work.failure.as_ref()) {
            let not_started = blocked.get(unit.name).map(Vec::as_slice);
            let id = logs
                .iter()
                .any(|log| log.unit == index && log.phase == failure.phase)
                .then(|| log_id(index, &failure.phase));
            one(
                html,
                report,
                unit.name,
                failure,
                id,
                not_started.unwrap_or_default(),
            );
        }
    }
    html.push_str("</section>\n");
}

fn of_the_run(html: &mut String, report: &RunReport<'_>) {
    let (what, why) = match (report.state, &report.record.message) {
        (_, Some(message)) => ("The run", message.clone()),
        (RunState::Interrupted, None) => (
            "Interrupted",
            "The run was stopped by Ctrl-C or SIGTERM. Finished work is kept; run the command again to \
             continue."
                .to_owned(),
        ),
        (RunState::Killed, None) => (
            "Killed",
            "xp was killed, or the machine stopped. Finished work is kept; run the command again to \
             continue."
                .to_owned(),
        ),
        _ => return,
    };
    put!(
        html,
        "<article class=\"failure\"><h3>{what}</h3><p class=\"message\">{}</p></article>\n",
        Escaped(&why)
    );
}

fn one(
    html: &mut String,
    report: &RunReport<'_>,
    unit: &str,
    failure: &FailureDocument,
    log: Option<String>,
    not_started: &[&str],
) {
    put!(
        html,
        "<article class=\"failure\"><h3>{}: {}</h3><p class=\"message\">{}</p>\n<ul>",
        Escaped(unit),
        Escaped(&failure.phase),
        Escaped(&failure.message)
    );
    for hint in &failure.hints {
        put!(html, "<li><b>hint</b>{}</li>", Escaped(hint));
    }
    if let Some(line) = failure.line {
        let manifest = Escaped(&report.record.manifest);
        put!(html, "<li><b>manifest</b>{manifest}:{line}</li>");
    }
    if !not_started.is_empty() {
        let names = not_started.iter().take(NAMED).copied().collect::<Vec<_>>();
        let more = match not_started.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        put!(
            html,
            "<li><b>not started</b>{}{more}</li>",
            Escaped(&names.join(", "))
        );
    }
    html.push_str("</ul>\n");
    if let Some(command) = &failure.by_hand {
        put!(
            html,
            "<p class=\"byhand\"><b>debug with</b><code>{}</code></p>",
            Escaped(command)
        );
    }
    if !failure.tail.is_empty() {
        let tail = failure.tail.join("\n");
        put!(html, "<pre>{}</pre>\n", Escaped(&tail));
    }
    match (log, &failure.log) {
        (Some(id), _) => {
            let label = OnOneLine(unit);
            put!(
                html,
                "<p><a href=\"#{id}\" aria-label=\"Log of {label}\">Full log</a></p>"
            );
        }
        (None, Some(file)) => {
            let file = shown(report, file.as_ref());
            put!(html, "<p class=\"soft\">{}</p>", Escaped(&file));
        }
        (None, None) => {}
    }
    html.push_str("</article>\n");
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
