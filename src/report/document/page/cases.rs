//! The test cases that the scripts reported: those that failed with their messages, and the names of all.

use maud::{Markup, html};

use super::{RunReport, section, time};
use crate::base::plural::count_of;
use crate::report::document::junit::{self, Case, CaseCounts, CaseResult};
use crate::store::runs::Run;

/// The maximum number of cases shown for each unit, and of failures with their messages.
const MAX_CASES: usize = 1000;
const MAX_FAILURES: usize = 100;
/// The maximum length of a message in characters.
const MAX_TEXT: usize = 8000;

/// The test cases of a unit.
pub struct UnitTests {
    /// The index of the unit.
    unit: usize,
    cases: Vec<Case>,
}

/// Reads the test cases of all units.
pub fn read(report: &RunReport<'_>, run: &Run) -> Vec<UnitTests> {
    let units = report.units.iter().enumerate();
    let with_reports = units.filter_map(|(index, unit)| {
        let work = unit.work.filter(|work| !work.reports.is_empty())?;
        Some(UnitTests {
            unit: index,
            cases: junit::tests(run, work),
        })
    });
    with_reports.collect()
}

/// Returns the section.
pub fn cases(report: &RunReport<'_>, tests: &[UnitTests]) -> Markup {
    let count = tests.iter().map(|tests| tests.cases.len()).sum();
    let content = html! { @for tests in tests { (of_unit(report, tests)) } };
    section("tests", "Tests", Some(count), &content)
}

fn of_unit(report: &RunReport<'_>, tests: &UnitTests) -> Markup {
    let unit = &report.units[tests.unit];
    let cases = &tests.cases;
    let failed: Vec<&Case> = cases.iter().filter(|case| is_failed(case)).collect();
    html! {
        details.log open[!failed.is_empty()] data-unit=(unit.name) data-result=(unit.status.as_str()) {
            summary {
                b { (unit.name) }
                span { (count_of(cases.len(), "test case")) }
                (counts(&CaseCounts::of(cases)))
            }
            div {
                @for case in failed.iter().take(MAX_FAILURES) { (failure(case)) }
                @if failed.len() > MAX_FAILURES {
                    p { (failed.len() - MAX_FAILURES) " more failed" }
                }
                details.cases {
                    summary { "All test cases" }
                    ul { @for case in cases.iter().take(MAX_CASES) { (line(case)) } }
                    @if cases.len() > MAX_CASES {
                        p { (cases.len() - MAX_CASES) " more are not shown; `xp report --format junit` has all" }
                    }
                }
            }
        }
    }
}

fn counts(counts: &CaseCounts) -> Markup {
    let failed = counts.failures + counts.errors;
    html! {
        @if failed > 0 { span.bad { "✕ " (failed) " failed" } } @else { span.good { "✓ passed" } }
        @if counts.skipped > 0 { span.quiet { (counts.skipped) " skipped" } }
    }
}

fn failure(case: &Case) -> Markup {
    let CaseResult::Failed { message, text, .. } = &case.result else {
        return Markup::default();
    };
    html! {
        article.failure {
            h3 { (name(case)) }
            @if !message.is_empty() { p.message { (shortened(message)) } }
            @if !text.trim().is_empty() { pre { (shortened(text)) } }
        }
    }
}

fn line(case: &Case) -> Markup {
    let (class, sign) = match case.result {
        CaseResult::Passed => ("good", "✓"),
        CaseResult::Skipped(_) => ("quiet", "–"),
        CaseResult::Failed { .. } => ("bad", "✕"),
    };
    html! {
        li {
            span class=(class) { (sign) } " " (name(case)) " " span.soft { (time(case.seconds)) }
            @if let CaseResult::Skipped(why) = &case.result
                && !why.is_empty()
            {
                " " span.soft { (shortened(why)) }
            }
        }
    }
}

fn is_failed(case: &Case) -> bool {
    matches!(case.result, CaseResult::Failed { .. })
}

fn name(case: &Case) -> String {
    if case.class.is_empty() {
        case.name.clone()
    } else {
        format!("{}: {}", case.class, case.name)
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(MAX_TEXT) {
        Some((end, _)) => format!("{} …", &text[..end]),
        None => text.to_owned(),
    }
}
