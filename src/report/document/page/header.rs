//! The header: command, result and key figures of the run.

use std::collections::BTreeMap;

use super::{Escaped, OnOneLine, RunReport, difference, put, time};
use crate::report::document::status_text::{RunState, UnitStatus};

/// Appends the header.
pub fn header(html: &mut String, report: &RunReport<'_>) {
    let record = report.record;
    let class = match report.state {
        RunState::Done | RunState::NothingToDo => "good",
        RunState::Failed => "bad",
        RunState::Running => "live",
        RunState::Killed | RunState::Interrupted => "warn",
    };
    put!(
        html,
        "<header><p class=\"crumb\">Run {} · {}</p>\
         <button id=\"theme\" class=\"script\" type=\"button\" hidden>Dark</button>\
         <h1><span class=\"badge {class}\">{}</span> <code>{}</code></h1>\n<dl class=\"facts\">",
        report.run.number,
        Escaped(&record.manifest),
        capital(report.state.as_str()),
        Escaped(&record.command),
    );
    fact(html, "Started", &started_at(&record.time), Some("UTC"));
    took(html, report);
    let (counts, more) = counts(report);
    fact(html, "Units", &counts, more.as_deref());
    if let Some(parallelism) = report.timeline.parallelism() {
        let jobs = report.timeline.jobs;
        let of = jobs.map_or_else(String::new, |jobs| format!(" of {jobs}"));
        let least = time(report.timeline.least());
        let more = match report.state {
            RunState::Done => format!("on average; at least {least} with unlimited jobs"),
            // An incomplete run has no meaningful lower bound.
            _ => "on average".to_owned(),
        };
        let jobs = format!("{parallelism:.1}{of}");
        fact(html, "Parallel jobs", &jobs, Some(&more));
    }
    if let Some(train) = record.plan.as_ref().and_then(|plan| plan.train.as_ref()) {
        let services = format!("{} of {} services", train.on_it, train.services);
        fact(
            html,
            "Train",
            &Escaped(&train.branch).to_string(),
            Some(&services),
        );
    }
    fact(
        html,
        "Version",
        &format!("xp {}", Escaped(&record.xp)),
        None,
    );
    html.push_str("</dl></header>\n");
}

/// Appends a fact; its value is HTML.
fn fact(html: &mut String, name: &str, value: &str, more: Option<&str>) {
    put!(html, "<div><dt>{name}</dt><dd>{value}");
    if let Some(more) = more {
        put!(html, "<small>{more}</small>");
    }
    html.push_str("</dd></div>");
}

fn took(html: &mut String, report: &RunReport<'_>) {
    let name = match report.state {
        RunState::Running => "Running for",
        RunState::Killed => "Last event after",
        _ => "Duration",
    };
    let usual = report.history.run(report.record).map(|comparison| {
        let (words, class) = difference(&comparison);
        let usual = time(comparison.usual);
        match class {
            "quiet" => format!("as usual: {usual}"),
            _ => format!("<span class=\"{class}\">{words}</span>, usually {usual}"),
        }
    });
    fact(html, name, &time(report.timeline.end), usual.as_deref());
}

/// Returns the number of units by status, and the skipped ones separately.
fn counts(report: &RunReport<'_>) -> (String, Option<String>) {
    let mut counts: BTreeMap<UnitStatus, usize> = BTreeMap::new();
    for unit in &report.units {
        *counts.entry(unit.status).or_default() += 1;
    }
    let skipped = counts.remove(&UnitStatus::Skipped);
    let words = |(status, count): (&UnitStatus, &usize)| {
        let class = status.class();
        format!("<span class=\"{class}\">{count} {}</span>", status.as_str())
    };
    let counted: Vec<String> = counts.iter().map(words).collect();
    match (counted.is_empty(), skipped) {
        (true, None) => ("none".to_owned(), None),
        (true, Some(skipped)) => (format!("{skipped} skipped"), None),
        (false, skipped) => {
            let more = skipped.map(|skipped| format!("{skipped} skipped"));
            (counted.join(", "), more)
        }
    }
}

fn started_at(when: &str) -> String {
    // Without fractions of a second.
    let seconds = when.split(['.', 'Z']).next().unwrap_or_default();
    let readable = seconds.replace('T', " ");
    format!(
        "<time datetime=\"{}\">{}</time>",
        OnOneLine(when),
        Escaped(&readable)
    )
}

fn capital(word: &str) -> String {
    let mut chars = word.chars();
    let first = chars.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(chars).collect()
}
