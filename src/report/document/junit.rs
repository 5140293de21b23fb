//! JUnit XML for the dashboards of CI systems.
//!
//! A suite is a unit. Its cases are the test cases in the files of `scripts.reports`; without any, its phases, so names
//! are stable across runs and a dashboard can track them. A failure of the service is a `failure`; one caused by the
//! engine, a registry or a remote is an `error`.

use std::time::Duration;

use super::escape::{Escaped, OnOneLine, put};
use super::test_cases::{self, TestCase};
use super::{ReportedUnit, RunReport, RunState};
use crate::model::event::{FailedStep, Phase};
use crate::model::record::UnitRecord;
use crate::report::document::status_text::UnitStatus;
use crate::store::runs::Run;

/// The result of a case.
pub enum CaseResult {
    Passed,
    Skipped(String),
    /// Failed: `message` is the first line of `text`.
    Failed {
        outside: bool,
        /// The class of the failure; the name of the case if there is none.
        kind: String,
        message: String,
        text: String,
    },
}

pub struct Case {
    /// The class; the name of the suite if there is none.
    pub class: String,
    pub name: String,
    pub seconds: f64,
    pub result: CaseResult,
    output: Option<String>,
    error_output: Option<String>,
}

impl Case {
    fn of_phase(name: impl Into<String>, seconds: f64, result: CaseResult) -> Self {
        Self {
            class: String::new(),
            name: name.into(),
            seconds,
            result,
            output: None,
            error_output: None,
        }
    }
}

struct Suite {
    name: String,
    start: f64,
    cases: Vec<Case>,
}

/// Returns the report as JUnit XML; `run` has the files that the scripts reported.
pub fn junit(report: &RunReport<'_>, run: &Run) -> String {
    let units = report.units.iter();
    let mut suites: Vec<Suite> = units.map(|unit| suite(report, run, unit)).collect();
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

/// Returns the cases of a file as a suite; `None` if it cannot be read.
#[cfg(any(fuzzing, test))]
pub fn suite_of_file(bytes: &[u8]) -> Option<String> {
    let cases = test_cases::read(bytes).ok()?;
    let mut xml = "<testsuite>".to_owned();
    for case in cases.into_iter().map(test) {
        write_case(&mut xml, "suite", &case);
    }
    Some(xml + "</testsuite>")
}

#[derive(Default)]
pub struct CaseCounts {
    pub tests: usize,
    pub failures: usize,
    pub errors: usize,
    pub skipped: usize,
}

impl CaseCounts {
    pub fn of<'a>(cases: impl IntoIterator<Item = &'a Case>) -> Self {
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

fn suite(report: &RunReport<'_>, run: &Run, unit: &ReportedUnit<'_>) -> Suite {
    let cases = match unit.work {
        Some(work) if !work.reports.is_empty() => tests(run, work),
        _ => phases(report, unit),
    };
    Suite {
        name: unit.name.to_owned(),
        start: unit.work.map_or(0.0, |work| work.start),
        cases,
    }
}

/// Returns the test cases that the scripts reported. A failure that none of them explains is another case.
pub fn tests(run: &Run, work: &UnitRecord) -> Vec<Case> {
    let mut cases = Vec::new();
    for (index, file) in work.reports.iter().enumerate() {
        let copy = run.test_report(&work.name, index);
        let read = std::fs::read(copy).map_err(|error| error.to_string());
        match read.and_then(|bytes| test_cases::read(&bytes)) {
            Ok(found) => cases.extend(found.into_iter().map(test)),
            Err(why) => {
                let result = CaseResult::Failed {
                    outside: true,
                    kind: "report".to_owned(),
                    message: "the report cannot be read".to_owned(),
                    text: why,
                };
                cases.push(Case::of_phase(file.as_str(), 0.0, result));
            }
        }
    }
    let is_failed = |case: &Case| matches!(case.result, CaseResult::Failed { .. });
    if let Some(failure) = &work.failure {
        let is_script = matches!(
            failure.phase,
            Phase::Prepare | Phase::Build | Phase::Test | Phase::Verify
        );
        if !(is_script && cases.iter().any(is_failed)) {
            cases.push(Case::of_phase(failure.phase.as_str(), 0.0, broken(failure)));
        }
    }
    cases
}

fn test(case: TestCase) -> Case {
    let mut problems = case.problems.into_iter();
    let result = match (problems.next(), case.skipped) {
        (Some(first), _) => {
            let others = problems.map(|other| format!("\n\n{}\n{}", other.message, other.text));
            let others: String = others.collect();
            CaseResult::Failed {
                outside: first.is_error,
                kind: first.kind,
                message: first.message,
                text: first.text + &others,
            }
        }
        (None, Some(why)) => CaseResult::Skipped(why),
        (None, None) => CaseResult::Passed,
    };
    Case {
        class: case.class,
        name: case.name,
        seconds: case.seconds,
        result,
        output: case.output,
        error_output: case.error_output,
    }
}

fn phases(report: &RunReport<'_>, unit: &ReportedUnit<'_>) -> Vec<Case> {
    let mut cases = Vec::new();
    let phases = unit.work.map(UnitRecord::phases).unwrap_or_default();
    for phase in &phases {
        if let Some(work) = unit.work {
            cases.push(case(report, unit, work, phase));
        }
    }
    let failed = unit.work.and_then(|work| work.failure.as_ref());
    if let Some(failure) = failed.filter(|failure| !phases.contains(&failure.phase.as_str())) {
        let result = broken(failure);
        cases.push(Case::of_phase(failure.phase.as_str(), 0.0, result));
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
    cases
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
            kind: String::new(),
            message: "xp ended before this step finished".to_owned(),
            text: "xp was killed, or the machine stopped.".to_owned(),
        },
    };
    Case::of_phase(phase, seconds, result)
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
        kind: String::new(),
        message: first_line(&message),
        text: message,
    };
    let case = Case::of_phase("run", report.timeline.end, result);
    Some(Suite {
        name: "xp".to_owned(),
        start: 0.0,
        cases: vec![case],
    })
}

fn skipped(name: &str, why: String) -> Case {
    Case::of_phase(name, 0.0, CaseResult::Skipped(why))
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
        kind: String::new(),
        message: first_line(&failure.message),
        text,
    }
}

fn write_case(xml: &mut String, suite: &str, case: &Case) {
    let or = |text: &str, default: &str| if text.is_empty() { default } else { text }.to_owned();
    put!(
        xml,
        "    <testcase classname=\"{}\" name=\"{}\" time=\"{:.3}\"",
        OnOneLine(&or(&case.class, suite)),
        OnOneLine(&case.name),
        case.seconds
    );
    let mut inner = String::new();
    match &case.result {
        CaseResult::Passed => {}
        CaseResult::Skipped(why) => {
            put!(&mut inner, "<skipped{}/>", message_attribute(why));
        }
        CaseResult::Failed {
            outside,
            kind,
            message,
            text,
        } => {
            let element = if *outside { "error" } else { "failure" };
            put!(
                &mut inner,
                "<{element} type=\"{}\"{}>{}</{element}>",
                OnOneLine(&or(kind, &case.name)),
                message_attribute(message),
                Escaped(text)
            );
        }
    }
    let outputs = [
        ("system-out", &case.output),
        ("system-err", &case.error_output),
    ];
    for (element, output) in outputs {
        if let Some(text) = output {
            put!(&mut inner, "<{element}>{}</{element}>", Escaped(text));
        }
    }
    if inner.is_empty() {
        xml.push_str("/>\n");
    } else {
        put!(xml, ">{inner}</testcase>\n");
    }
}

fn message_attribute(message: &str) -> String {
    match message {
        "" => String::new(),
        message => format!(" message=\"{}\"", OnOneLine(message)),
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
