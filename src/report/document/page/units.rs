//! The table of units: result, duration, reason, image and logs.

use maud::{Markup, html};

use super::{LogEnd, ReportedUnit, RunReport, difference, log_id, section, time};
use crate::model::timeline::DurationComparison;
use crate::report::summary::restored;

/// The height of the sparkline of earlier durations.
const HEIGHT: f64 = 16.0;

/// Returns the table.
pub fn units(report: &RunReport<'_>, logs: &[LogEnd]) -> Markup {
    let mut logs = logs.iter().peekable();
    let content = html! {
        @if report.units.is_empty() {
            p.soft { "The run ended before its plan was known." }
        } @else {
            div.table tabindex="0" role="group" aria-labelledby="h-units" {
                table {
                    thead {
                        tr {
                            @for name in ["Unit", "Result", "Time", "Compared to earlier runs", "Why", "Commit, image"] {
                                th scope="col" { (name) }
                            }
                            th.logs scope="col" { "Logs" }
                        }
                    }
                    tbody {
                        @for (index, unit) in report.units.iter().enumerate() {
                            @let phases: Vec<_> = std::iter::from_fn(|| logs.next_if(|log| log.unit == index))
                                .map(|log| log.phase.as_str())
                                .collect();
                            (row(report, index, unit, &phases))
                        }
                    }
                }
            }
        }
    };
    section("units", "Units", Some(report.units.len()), &content)
}

fn row(report: &RunReport<'_>, index: usize, unit: &ReportedUnit<'_>, phases: &[&str]) -> Markup {
    let status = unit.status;
    html! {
        tr id={ "unit-" (index) } data-unit=(unit.name) data-result=(status.as_str()) {
            th scope="row" { (unit.name) }
            td.result.(status.class()) { (unit.sign()) " " (status.as_str()) }
            @if let Some(work) = unit.work.filter(|work| !work.steps.is_empty()) {
                @let seconds = work.worked(report.timeline.end);
                td.time { (time(seconds)) }
                td.usual {
                    @if let Some(earlier) = report.history.unit(work) { (comparison(&earlier, seconds)) }
                }
            } @else {
                td.time.soft { "–" }
                td {}
            }
            td.why {
                (unit.why())
                @if let Some(restored) = unit.work.and_then(|work| restored(work.restored.iter())) {
                    p.soft { (restored) }
                }
            }
            td.image { (image(unit)) }
            td.logs {
                @for phase in phases { a href={ "#" (log_id(index, phase)) } { (phase) } }
            }
        }
    }
}

/// Returns the comparison with earlier durations: a sparkline and text.
fn comparison(comparison: &DurationComparison, seconds: f64) -> Markup {
    let mut times = comparison.earlier.clone();
    times.push(seconds);
    let longest = times.iter().copied().fold(0.001, f64::max);
    let (words, class) = difference(comparison);
    let usual = time(comparison.usual);
    let count = comparison.earlier.len();
    html! {
        svg.spark viewBox=(format_args!("0 0 {} {HEIGHT}", times.len() * 5)) aria-hidden="true" {
            @for (index, seconds) in times.iter().enumerate() {
                @let height = (seconds / longest * HEIGHT).max(1.0);
                rect class=[(index + 1 == times.len()).then_some("now")] x=(index * 5) y=(format_args!("{:.1}", HEIGHT - height))
                    width="4" height=(format_args!("{height:.1}")) {}
            }
        }
        span class=(class) title={ "usually " (usual) ", the median of " (count) } { (words) }
    }
}

/// Returns the commit, or the tag of a builder, with the image and the changed inputs as details.
fn image(unit: &ReportedUnit<'_>) -> Markup {
    let Some(plan) = unit.plan else {
        return Markup::default();
    };
    let tag = plan.image.rsplit(':').next().unwrap_or_default();
    let commit = plan.commit.as_deref().unwrap_or(tag);
    html! {
        details {
            summary { code { (commit.chars().take(8).collect::<String>()) } }
            dl {
                dt { "image" }
                dd { code { (plan.image) } }
                @if let Some(reference) = &plan.reference {
                    dt { "reference" }
                    dd { (reference) " " span.soft { (plan.origin.as_deref().unwrap_or_default()) } }
                }
                @for change in &plan.changes {
                    dt { (change.input) }
                    dd { (change.change) }
                }
            }
        }
    }
}
