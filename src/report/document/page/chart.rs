//! The timeline: a row per unit, a bar per step, and the critical path.

use std::collections::HashMap;

use super::{Escaped, LogEnd, OnOneLine, ReportedUnit, RunReport, difference, log_id, put, time};
use crate::model::record::StepRecord;
use crate::model::timeline::{Cause, Span};
use crate::report::document::status_text::RunState;
use crate::report::text::shortened;

/// Distances between the ticks of the axis, in seconds.
const STEPS: &[f64] = &[
    0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0,
    3600.0, 7200.0, 14400.0,
];

/// The maximum number of ticks.
const MAX_TICKS: f64 = 8.0;

/// Maximum length of a step's title in its tooltip.
const TITLE: usize = 200;

/// Units of the critical path listed below the timeline, from its end.
const LINKS: usize = 40;

/// Phases that share a color, and the label of each group.
const LEGEND: &[(&str, &str)] = &[
    ("sync", "sources"),
    ("container", "container, prepare"),
    ("build", "build"),
    ("test", "test"),
    ("image", "image"),
    ("push", "pull, push, tag"),
];

/// Returns whether any work was done.
pub fn is_needed(report: &RunReport<'_>) -> bool {
    !report.timeline.spans.is_empty()
}

struct Chart<'a> {
    report: &'a RunReport<'a>,
    logs: HashMap<(usize, &'a str), String>,
    /// The duration of the full width.
    seconds: f64,
}

/// Appends the timeline.
pub fn chart(html: &mut String, report: &RunReport<'_>, logs: &[LogEnd]) {
    if !is_needed(report) {
        return;
    }
    let logs = logs.iter();
    let chart = Chart {
        report,
        logs: logs
            .map(|log| ((log.unit, log.phase.as_str()), log_id(log.unit, &log.phase)))
            .collect(),
        seconds: report.timeline.end.max(0.001),
    };
    html.push_str(
        "<section id=\"timeline\" aria-labelledby=\"h-timeline\"><h2 id=\"h-timeline\">Timeline</h2>\n",
    );
    legend(html);
    let step = chart.step();
    put!(
        html,
        "<div class=\"timeline\" tabindex=\"0\" role=\"group\" aria-label=\"Timeline of {} units\">\
         <div class=\"plot\" style=\"--step:{:.4}%\">\n",
        report.timeline.spans.len(),
        chart.percent(step)
    );
    chart.axis(html, step);
    html.push_str("<ol>\n");
    chart.planning(html);
    let indices: HashMap<&str, usize> = report
        .units
        .iter()
        .enumerate()
        .map(|(unit_index, unit)| (unit.name, unit_index))
        .collect();
    let critical: Vec<usize> = report.timeline.path.iter().map(|link| link.unit).collect();
    for (index, span) in report.timeline.spans.iter().enumerate() {
        if let Some(unit_index) = indices.get(span.unit.as_str()) {
            chart.row(html, *unit_index, span, critical.contains(&index));
        }
    }
    html.push_str("</ol></div></div>\n");
    chart.path(html);
    html.push_str("</section>\n");
}

fn legend(html: &mut String) {
    html.push_str("<div class=\"legend\">");
    for (phase, text) in LEGEND {
        put!(
            html,
            "<span><i class=\"bar swatch p-{phase}\"></i>{text}</span>"
        );
    }
    html.push_str(
        "<span><i class=\"bar swatch critical\"></i>◆ critical path</span>\
         <span><i class=\"wait\"></i>waiting for a free job</span>\
         <span class=\"zoom script\" hidden><button id=\"farther\" type=\"button\" aria-label=\"Zoom out\">−</button>\
         <button id=\"closer\" type=\"button\" aria-label=\"Zoom in\">+</button>\
         <button id=\"whole\" type=\"button\">Reset</button></span></div>\n",
    );
}

impl Chart<'_> {
    fn percent(&self, seconds: f64) -> f64 {
        (seconds / self.seconds * 100.0).clamp(0.0, 100.0)
    }

    fn step(&self) -> f64 {
        let fits = |step: &&f64| self.seconds / **step <= MAX_TICKS;
        STEPS
            .iter()
            .find(fits)
            .copied()
            .unwrap_or(self.seconds / MAX_TICKS)
    }

    fn axis(&self, html: &mut String, step: f64) {
        html.push_str("<div class=\"axis\" aria-hidden=\"true\"><div class=\"corner\"></div><div class=\"ticks\">");
        let mut at = 0.0;
        // The last tick needs room for its label.
        while at <= self.seconds * 0.96 {
            let text = match at {
                0.0 => "0".to_owned(),
                at if step < 0.1 => format!("{at:.2}s"),
                at => time(at),
            };
            let left = self.percent(at);
            put!(html, "<span style=\"left:{left:.3}%\">{text}</span>");
            at += step;
        }
        html.push_str("</div></div>\n");
    }

    /// Appends the planning before the work: querying remotes and registries.
    fn planning(&self, html: &mut String) {
        let until = self.report.timeline.work_start;
        if until <= 0.0 {
            return;
        }
        html.push_str("<li class=\"row\"><div class=\"name soft\"><span class=\"sign\"></span> planning</div><div class=\"track\">");
        let stages = &self.report.record.stages;
        let mut title = format!("planning: {}", time(until));
        for stage in stages.iter().filter(|stage| stage.start < until) {
            let took = stage.end.unwrap_or(until) - stage.start;
            title.push_str(&format!("\n{}: {}", stage.text, time(took)));
        }
        self.bar(
            html,
            Bar {
                start: 0.0,
                end: until,
                classes: "p-planning",
                title: &title,
                word: "planning",
                link: None,
            },
        );
        html.push_str("</div></li>\n");
    }

    fn row(&self, html: &mut String, unit_index: usize, span: &Span, critical: bool) {
        let unit = &self.report.units[unit_index];
        let mark = if critical {
            "<span class=\"on-path\" title=\"on the critical path\">◆</span>"
        } else {
            ""
        };
        let name = OnOneLine(unit.name);
        put!(
            html,
            "<li class=\"row\" data-unit=\"{name}\" data-result=\"{}\"{}>\
             <div class=\"name\"><span class=\"sign {}\">{}</span> {mark}<a href=\"#unit-{unit_index}\" title=\"{name}\">{}</a></div>\
             <div class=\"track\">",
            unit.status.as_str(),
            if critical { " data-critical" } else { "" },
            unit.status.class(),
            unit.sign(),
            Escaped(unit.name)
        );
        if span.waited() > 0.01 {
            let (left, width) = (self.percent(span.ready), self.percent(span.waited()));
            put!(
                html,
                "<i class=\"wait\" title=\"ready; waited {} for a free job\" style=\"left:{left:.3}%;width:{width:.3}%\"></i>",
                time(span.waited())
            );
        }
        self.steps(html, unit_index, unit, critical);
        html.push_str("</div></li>\n");
    }

    fn steps(&self, html: &mut String, unit_index: usize, unit: &ReportedUnit<'_>, critical: bool) {
        let Some(work) = unit.work else { return };
        for (index, step) in work.steps.iter().enumerate() {
            let is_last = index + 1 == work.steps.len();
            let failed = is_last && work.failure.is_some();
            let end = step.end.unwrap_or_else(|| self.report.end(work));
            let mut classes = format!("p-{}", OnOneLine(&step.phase));
            for (is, class) in [
                (critical, " critical"),
                (failed, " failed"),
                (step.end.is_none(), " open"),
            ] {
                if is {
                    classes.push_str(class);
                }
            }
            let first_of_phase = |other: &StepRecord| other.phase == step.phase;
            let is_first = work.steps.iter().position(first_of_phase) == Some(index);
            let mut title = self.title(unit, step, end, failed);
            // Only the first step of a phase shows the comparison of the phase.
            let comparison = self.report.history.phase(work, &step.phase);
            if let Some(comparison) = comparison.filter(|_| is_first) {
                let usual = time(comparison.usual);
                title.push_str(&match difference(&comparison) {
                    (_, "quiet") => format!("\n{}: as usual, {usual}", step.phase),
                    (words, _) => format!("\n{}: {words}, usually {usual}", step.phase),
                });
            }
            self.bar(
                html,
                Bar {
                    start: step.start,
                    end,
                    classes: &classes,
                    title: &title,
                    word: &step.phase,
                    link: self
                        .logs
                        .get(&(unit_index, step.phase.as_str()))
                        .map(String::as_str),
                },
            );
        }
    }

    fn title(&self, unit: &ReportedUnit<'_>, step: &StepRecord, end: f64, failed: bool) -> String {
        let took = match (step.end, failed, self.report.state) {
            (Some(_), true, _) => "failed after ",
            (None, _, RunState::Running) => "so far ",
            (None, ..) => "cut off after ",
            _ => "",
        };
        format!(
            "{} · {}\n{}\n{took}{}, from {} to {}",
            unit.name,
            step.phase,
            shortened(&step.title, TITLE),
            time(end - step.start),
            time(step.start),
            time(end)
        )
    }

    fn bar(&self, html: &mut String, bar: Bar<'_>) {
        let (left, right) = (self.percent(bar.start), self.percent(bar.end));
        let width = (right - left).max(0.0);
        let (element, link) = match bar.link {
            Some(id) => ("a", format!(" href=\"#{id}\"")),
            None => ("span", String::new()),
        };
        put!(
            html,
            "<{element}{link} class=\"bar {}\" style=\"left:{left:.3}%;width:{width:.3}%\" title=\"{}\">{}</{element}>",
            bar.classes,
            OnOneLine(bar.title),
            Escaped(bar.word)
        );
    }

    /// Appends the critical path as a list.
    fn path(&self, html: &mut String) {
        let timeline = &self.report.timeline;
        if timeline.path.is_empty() {
            return;
        }
        html.push_str(
            "<p class=\"path-text\">◆ Critical path, which determined when the run ended:</p>\n<ol class=\"path\">",
        );
        if timeline.work_start > 0.0 {
            put!(
                html,
                "<li><span class=\"link\">planning <small>{}</small></span></li>",
                time(timeline.work_start)
            );
        }
        let left_out = timeline.path.len().saturating_sub(LINKS);
        if left_out > 0 {
            put!(html, "<li><small>{left_out} more</small></li>");
        }
        for link in &timeline.path[left_out..] {
            let span = &timeline.spans[link.unit];
            let cause = match link.cause {
                Cause::Job => "<small>after waiting for a free job:</small> ",
                Cause::Start | Cause::Needs => "",
            };
            put!(
                html,
                "<li>{cause}<span class=\"link\">{} <small>{}{}</small></span></li>",
                Escaped(&span.unit),
                time(span.seconds()),
                Escaped(&self.longest_phase(&span.unit))
            );
        }
        html.push_str("</ol>\n");
    }

    /// Returns the longest phase of a unit, if it has several.
    fn longest_phase(&self, unit: &str) -> String {
        let Some(work) = self.report.record.unit(unit) else {
            return String::new();
        };
        let phases = work.phases();
        let took = |phase: &str| {
            let steps = work.steps.iter().filter(|step| step.phase == phase);
            steps
                .map(|step| step.end.unwrap_or_else(|| self.report.end(work)) - step.start)
                .sum::<f64>()
        };
        let times = phases.iter().map(|phase| (*phase, took(phase)));
        let longest = times.max_by(|a, b| a.1.total_cmp(&b.1));
        match longest.filter(|_| phases.len() > 1) {
            Some((phase, seconds)) => format!(", {phase} {}", time(seconds)),
            None => String::new(),
        }
    }
}

struct Bar<'a> {
    start: f64,
    end: f64,
    /// Already escaped.
    classes: &'a str,
    title: &'a str,
    word: &'a str,
    link: Option<&'a str>,
}
