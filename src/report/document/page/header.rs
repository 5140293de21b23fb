//! The header: command, result and key figures of the run.

use std::collections::BTreeMap;

use maud::{Markup, Render, html};

use super::{RunReport, difference, time};
use crate::report::document::status_text::{RunState, UnitStatus};
use crate::store::runs::Run;

/// Returns the header.
pub fn header(report: &RunReport<'_>, run: &Run) -> Markup {
    let record = report.record;
    let class = match report.state {
        RunState::Done | RunState::NothingToDo => "good",
        RunState::Failed => "bad",
        RunState::Running => "live",
        RunState::Killed | RunState::Interrupted => "warn",
    };
    html! {
        header {
            p.crumb { "Run " (run.number) " · " (record.manifest) }
            button #theme.script type="button" hidden { "Dark" }
            h1 {
                span.badge.(class) { (capital(report.state.as_str())) }
                " "
                code { (record.command) }
            }
            dl.facts {
                (fact("Started", started_at(&record.time), Some("UTC")))
                (took(report))
                (counts(report))
                (parallelism(report))
                @if let Some(train) = record.plan.as_ref().and_then(|plan| plan.train.as_ref()) {
                    @let services = format!("{} of {} services", train.services_on_branch, train.services);
                    (fact("Train", &train.branch, Some(services)))
                }
                (fact("Version", format_args!("xp {}", record.xp), None::<&str>))
            }
        }
    }
}

fn fact(name: &str, value: impl Render, more: Option<impl Render>) -> Markup {
    html! {
        div {
            dt { (name) }
            dd {
                (value)
                @if let Some(more) = more { small { (more) } }
            }
        }
    }
}

fn parallelism(report: &RunReport<'_>) -> Markup {
    let Some(parallelism) = report.timeline.parallelism() else {
        return Markup::default();
    };
    let jobs = report.timeline.jobs;
    let of = jobs.map_or_else(String::new, |jobs| format!(" of {jobs}"));
    let least = time(report.timeline.lower_bound());
    let more = match report.state {
        RunState::Done => format!("on average; at least {least} with unlimited jobs"),
        // An incomplete run has no meaningful lower bound.
        _ => "on average".to_owned(),
    };
    fact(
        "Parallel jobs",
        format_args!("{parallelism:.1}{of}"),
        Some(more),
    )
}

fn took(report: &RunReport<'_>) -> Markup {
    let name = match report.state {
        RunState::Running => "Running for",
        RunState::Killed => "Last event after",
        _ => "Duration",
    };
    let usual = report.history.run(report.record).map(|comparison| {
        let (words, class) = difference(&comparison);
        let usual = time(comparison.usual);
        html! {
            @if class == "quiet" {
                "as usual: " (usual)
            } @else {
                span class=(class) { (words) } ", usually " (usual)
            }
        }
    });
    fact(name, time(report.timeline.end), usual)
}

/// Returns the number of units by status, and the skipped ones separately.
fn counts(report: &RunReport<'_>) -> Markup {
    let mut counts: BTreeMap<UnitStatus, usize> = BTreeMap::new();
    for unit in &report.units {
        *counts.entry(unit.status).or_default() += 1;
    }
    let skipped = counts.remove(&UnitStatus::Skipped);
    let skipped = skipped.map(|skipped| format!("{skipped} skipped"));
    if counts.is_empty() {
        let none = || "none".to_owned();
        return fact("Units", skipped.unwrap_or_else(none), None::<&str>);
    }
    let counted = html! {
        @for (index, (status, count)) in counts.iter().enumerate() {
            @if index > 0 { ", " }
            span class=(status.class()) { (count) " " (status.as_str()) }
        }
    };
    fact("Units", counted, skipped)
}

fn started_at(when: &str) -> Markup {
    // Without fractions of a second.
    let seconds = when.split(['.', 'Z']).next().unwrap_or_default();
    html! { time datetime=(when) { (seconds.replace('T', " ")) } }
}

fn capital(word: &str) -> String {
    let mut chars = word.chars();
    let first = chars.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(chars).collect()
}
