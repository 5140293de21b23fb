//! JUnit XML for the dashboards of CI systems.
//!
//! A suite is a unit and a case is one of its phases, so names are stable across runs and a dashboard can
//! track them. A failure of the service is a `failure`; one caused by the engine, a registry or a remote is
//! an `error`.

use std::time::Duration;

use super::escape::{Escaped, OnOneLine, put};
use super::{ReportedUnit, RunReport, RunState};
use crate::model::event::FailedStep;
use crate::model::record::UnitRecord;
use crate::report::document::status_text::UnitStatus;

/// The result of a case.
enum CaseResult {
    Passed,
    Skipped(String),
    /// Failed: `message` is the first line of `text`.
    Failed {
        outside: bool,
        message: String,
        text: String,
    },
}

struct Case {
    name: String,
    seconds: f64,
    result: CaseResult,
}

struct Suite {
    name: String,
    start: f64,
    cases: Vec<Case>,
}

/// Returns the report as JUnit XML.
pub fn junit(report: &RunReport<'_>) -> String {
    let mut suites: Vec<Suite> = report
        .units
        .iter()
        .map(|unit| suite(report, unit))
        .collect();
    suites.extend(of_the_run(report));
    let all = CaseCounts::of(suites.iter().flat_map(|suite| &suite.cases));
    let mut xml = super::JUNIT_START.to_owned();
    put!(
        &mut xml,
        "<testsuites name=\"{}\" {} time=\"{:.3}\">\n",
        OnOneLine(&report.record.command),
        all.attributes(),
        report.timeline.end
    );
    for suite in &suites {
        put!(
            &mut xml,
            "  <testsuite name=\"{}\" {} time=\"{:.3}\" timestamp=\"{}\">\n",
            OnOneLine(&suite.name),
            CaseCounts::of(&suite.cases).attributes(),
            suite.cases.iter().map(|case| case.seconds).sum::<f64>(),
            OnOneLine(&time(&report.record.time, suite.start)),
        );
        for case in &suite.cases {
            write_case(&mut xml, &suite.name, case);
        }
        xml.push_str("  </testsuite>\n");
    }
    xml.push_str("</testsuites>\n");
    xml
}

#[derive(Default)]
struct CaseCounts {
    tests: usize,
    failures: usize,
    errors: usize,
    skipped: usize,
}

impl CaseCounts {
    fn of<'a>(cases: impl IntoIterator<Item = &'a Case>) -> Self {
        let mut counts = Self::default();
        for case in cases {
            counts.tests += 1;
            match case.result {
                CaseResult::Passed => {}
                CaseResult::Skipped(_) => counts.skipped += 1,
                CaseResult::Failed { outside: true, .. } => counts.errors += 1,
                CaseResult::Failed { .. } => counts.failures += 1,
            }
        }
        counts
    }

    fn attributes(&self) -> String {
        format!(
            "tests=\"{}\" failures=\"{}\" errors=\"{}\" skipped=\"{}\"",
            self.tests, self.failures, self.errors, self.skipped
        )
    }
}

fn suite(report: &RunReport<'_>, unit: &ReportedUnit<'_>) -> Suite {
    let mut cases = Vec::new();
    let phases = unit.work.map(UnitRecord::phases).unwrap_or_default();
    for phase in &phases {
        if let Some(work) = unit.work {
            cases.push(case(report, unit, work, phase));
        }
    }
    let failed = unit.work.and_then(|work| work.failure.as_ref());
    if let Some(failure) = failed.filter(|failure| !phases.contains(&failure.phase.as_str())) {
        cases.push(Case {
            name: failure.phase.to_string(),
            seconds: 0.0,
            result: broken(failure),
        });
    }
    // Planned phases that were not started; without any phase, the unit itself.
    let planned = unit.plan.iter().flat_map(|plan| &plan.steps);
    for step in planned {
        if !cases.iter().any(|case| case.name == step.phase) {
            cases.push(skipped(&step.phase, not_started(unit)));
        }
    }
    if cases.is_empty() {
        let name = unit.plan.map_or("work", |_| "image");
        cases.push(skipped(name, unit.why()));
    }
    Suite {
        name: unit.name.to_owned(),
        start: unit.work.map_or(0.0, |work| work.start),
        cases,
    }
}

fn case(report: &RunReport<'_>, unit: &ReportedUnit<'_>, work: &UnitRecord, phase: &str) -> Case {
    let steps: Vec<_> = work.steps.iter().filter(|it| it.phase == phase).collect();
    let seconds = steps
        .iter()
        .map(|step| (step.end.unwrap_or_else(|| report.end(work)) - step.start).max(0.0))
        .sum();
    let failure = work
        .failure
        .as_ref()
        .filter(|it| it.phase.as_str() == phase);
    let result = match (failure, unit.status) {
        (Some(failure), _) => broken(failure),
        _ if steps.iter().all(|step| step.done) => CaseResult::Passed,
        (None, UnitStatus::Running) => CaseResult::Skipped("still running".to_owned()),
        (None, UnitStatus::Stopped) => CaseResult::Skipped("stopped".to_owned()),
        (None, _) => CaseResult::Failed {
            outside: true,
            message: "xp ended before this step finished".to_owned(),
            text: "xp was killed, or the machine stopped.".to_owned(),
        },
    };
    Case {
        name: phase.to_owned(),
        seconds,
        result,
    }
}

/// Returns why a planned phase was not started.
fn not_started(unit: &ReportedUnit<'_>) -> String {
    match unit.status {
        UnitStatus::Failed => {
            let failure = unit.work.and_then(|work| work.failure.as_ref());
            let phase = failure.map_or("an earlier step", |failure| failure.phase.as_str());
            format!("not started: {phase} failed")
        }
        _ if unit.blocked_by().is_some() => format!("not started: {}", unit.why()),
        UnitStatus::Waiting | UnitStatus::Running => "not started yet".to_owned(),
        UnitStatus::Stopped => "not started: the run was stopped".to_owned(),
        _ => "not started: the run ended first".to_owned(),
    }
}

/// Returns the suite for a failure of the run itself, such as a lost engine.
fn of_the_run(report: &RunReport<'_>) -> Option<Suite> {
    let message = match (report.state, &report.record.message) {
        (RunState::Failed, Some(message)) => message.clone(),
        _ => return None,
    };
    let result = CaseResult::Failed {
        outside: true,
        message: first_line(&message),
        text: message,
    };
    let case = Case {
        name: "run".to_owned(),
        seconds: report.timeline.end,
        result,
    };
    Some(Suite {
        name: "xp".to_owned(),
        start: 0.0,
        cases: vec![case],
    })
}

fn skipped(name: &str, why: String) -> Case {
    Case {
        name: name.to_owned(),
        seconds: 0.0,
        result: CaseResult::Skipped(why),
    }
}

fn broken(failure: &FailedStep) -> CaseResult {
    let mut text = format!("{}\n", failure.message);
    for hint in &failure.hints {
        put!(&mut text, "hint: {hint}\n");
    }
    if let Some(instruction) = &failure.dockerfile {
        put!(&mut text, "{}:{}\n", instruction.file, instruction.line);
    }
    if let Some(command) = &failure.reproduce_command {
        put!(&mut text, "debug with: {command}\n");
    }
    if let Some(log) = &failure.log {
        put!(&mut text, "full log: {log}\n");
    }
    if !failure.tail.is_empty() {
        put!(
            &mut text,
            "\nlast lines of the log:\n{}\n",
            failure.tail.join("\n")
        );
    }
    CaseResult::Failed {
        outside: failure.outside,
        message: first_line(&failure.message),
        text,
    }
}

fn write_case(xml: &mut String, suite: &str, case: &Case) {
    put!(
        xml,
        "    <testcase classname=\"{}\" name=\"{}\" time=\"{:.3}\"",
        OnOneLine(suite),
        OnOneLine(&case.name),
        case.seconds
    );
    match &case.result {
        CaseResult::Passed => xml.push_str("/>\n"),
        CaseResult::Skipped(why) => {
            let why = OnOneLine(why);
            put!(xml, "><skipped message=\"{why}\"/></testcase>\n");
        }
        CaseResult::Failed {
            outside,
            message,
            text,
        } => {
            let element = if *outside { "error" } else { "failure" };
            put!(
                xml,
                "><{element} type=\"{}\" message=\"{}\">{}</{element}></testcase>\n",
                OnOneLine(&case.name),
                OnOneLine(message),
                Escaped(text)
            );
        }
    }
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

/// Returns the time `later` seconds after the start, in JUnit's format: UTC, without a fraction or a time zone.
fn time(start: &str, later: f64) -> String {
    use time::format_description::well_known::Rfc3339;
    use time::macros::format_description;
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]");
    let later = Duration::try_from_secs_f64(later).unwrap_or_default();
    let then = time::OffsetDateTime::parse(start, &Rfc3339)
        .ok()
        .and_then(|start| start.checked_add(later.try_into().ok()?));
    then.and_then(|then| then.format(&format).ok())
        .unwrap_or_default()
}
