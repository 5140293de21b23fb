//! The timeline: a row per unit, a bar per step, and the critical path.

use std::collections::HashMap;

use maud::{Markup, html};

use super::{LogEnd, RunReport, difference, log_id, section, time};
use crate::model::record::{SidecarRecord, StepRecord, UnitRecord};
use crate::model::timeline::{StartReason, UnitTimes};
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
    ("sidecars", "sidecars, verify"),
    ("push", "pull, push, attest, tag"),
];

/// Returns whether any work was done.
pub fn is_needed(report: &RunReport<'_>) -> bool {
    !report.timeline.spans.is_empty()
}

struct Chart<'a> {
    report: &'a RunReport<'a>,
    logs: HashMap<(usize, &'a str), String>,
    /// The duration that the full width represents.
    seconds: f64,
}

/// Returns the timeline.
pub fn chart(report: &RunReport<'_>, logs: &[LogEnd]) -> Markup {
    let logs = logs.iter();
    let chart = Chart {
        report,
        logs: logs
            .map(|log| ((log.unit, log.phase.as_str()), log_id(log.unit, &log.phase)))
            .collect(),
        seconds: report.timeline.end.max(0.001),
    };
    let timeline = &report.timeline;
    let step = chart.step();
    let units = report.units.iter().enumerate();
    let indices: HashMap<&str, usize> = units.map(|(index, unit)| (unit.name, index)).collect();
    let critical: Vec<usize> = timeline.path.iter().map(|link| link.unit).collect();
    let content = html! {
        (legend())
        div.timeline tabindex="0" role="group" aria-label={ "Timeline of " (timeline.spans.len()) " units" } {
            div.plot style=(format_args!("--step:{:.4}%", chart.percent(step))) {
                (chart.axis(step))
                ol {
                    @if timeline.work_start > 0.0 { (chart.planning()) }
                    @for (index, span) in timeline.spans.iter().enumerate() {
                        @if let Some(unit_index) = indices.get(span.unit.as_str()) {
                            (chart.row(*unit_index, span, critical.contains(&index)))
                            @if let Some(work) = chart.report.units[*unit_index].work {
                                @for sidecar in &work.sidecars {
                                    (chart.sidecar(*unit_index, work, sidecar))
                                }
                            }
                        }
                    }
                }
            }
        }
        @if !timeline.path.is_empty() { (chart.path()) }
    };
    section("timeline", "Timeline", None, &content)
}

fn legend() -> Markup {
    html! {
        div.legend {
            @for (phase, text) in LEGEND {
                span { i.{ "bar swatch p-" (phase) } {} (text) }
            }
            span { i.bar.swatch.critical {} "◆ critical path" }
            span { i.wait {} "waiting for another unit or a free job slot" }
            span.zoom.script hidden {
                button #farther type="button" aria-label="Zoom out" { "−" }
                button #closer type="button" aria-label="Zoom in" { "+" }
                button #whole type="button" { "Reset" }
            }
        }
    }
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

    fn axis(&self, step: f64) -> Markup {
        // The last tick needs room for its label.
        let fits = |at: &f64| *at <= self.seconds * 0.96;
        let ticks = std::iter::successors(Some(0.0), |at| Some(at + step)).take_while(fits);
        let label = |at: f64| match at {
            0.0 => "0".to_owned(),
            at if step < 0.1 => format!("{at:.2}s"),
            at => time(at),
        };
        html! {
            div.axis aria-hidden="true" {
                div.corner {}
                div.ticks {
                    @for at in ticks {
                        span style=(format_args!("left:{:.3}%", self.percent(at))) { (label(at)) }
                    }
                }
            }
        }
    }

    /// Returns the planning before the work: querying remotes and registries.
    fn planning(&self) -> Markup {
        let until = self.report.timeline.work_start;
        let stages = &self.report.record.stages;
        let mut title = format!("planning: {}", time(until));
        for stage in stages.iter().filter(|stage| stage.start < until) {
            let took = stage.end.unwrap_or(until) - stage.start;
            title.push_str(&format!("\n{}: {}", stage.text, time(took)));
        }
        let bar = Bar {
            start: 0.0,
            end: until,
            classes: "p-planning",
            title: &title,
            word: "planning",
            link: None,
        };
        html! {
            li.row {
                div.name.soft { span.sign {} " planning" }
                div.track { (self.bar(bar)) }
            }
        }
    }

    fn row(&self, unit_index: usize, span: &UnitTimes, critical: bool) -> Markup {
        let unit = &self.report.units[unit_index];
        let status = unit.status;
        html! {
            li.row data-unit=(unit.name) data-result=(status.as_str()) data-critical[critical] {
                div.name {
                    span.sign.(status.class()) { (unit.sign()) }
                    " "
                    @if critical { span.on-path title="on the critical path" { "◆" } }
                    a href={ "#unit-" (unit_index) } title=(unit.name) { (unit.name) }
                }
                div.track {
                    @if let Some(work) = unit.work {
                        (self.waits(span, work))
                        @for index in 0..work.steps.len() {
                            (self.step_bar(unit_index, work, index, critical))
                        }
                    }
                }
            }
        }
    }

    /// Returns the row of a container beside the scripts of a unit.
    fn sidecar(&self, unit_index: usize, work: &UnitRecord, sidecar: &SidecarRecord) -> Markup {
        let end = sidecar.end.unwrap_or_else(|| self.report.end(work));
        let name = &sidecar.name;
        let mut title = format!("{} · {name} ({})", work.name, sidecar.image);
        match sidecar.ready {
            Some(ready) => {
                let took = time(ready - sidecar.start);
                title.push_str(&format!("\nready after {took}"));
            }
            None => title.push_str("\nwas not ready"),
        }
        if let Some(exit) = sidecar.exit {
            title.push_str(&format!("\nexited with {exit}"));
        }
        let (start, stop) = (time(sidecar.start), time(end));
        title.push_str(&format!("\nfrom {start} to {stop}"));
        let log = self.logs.get(&(unit_index, sidecar.log.as_str()));
        let bar = |start, end, word, classes| {
            self.bar(Bar {
                start,
                end,
                classes,
                title: &title,
                word,
                link: log.map(String::as_str),
            })
        };
        let is_failed = sidecar.exit.is_some() || sidecar.ready.is_none();
        let classes = if is_failed {
            "p-sidecars failed"
        } else {
            "p-sidecars"
        };
        html! {
            li.row data-unit=(work.name) data-result=(self.report.units[unit_index].status.as_str()) {
                div.name.soft { span.sign {} " " (name) }
                div.track {
                    @match sidecar.ready {
                        Some(ready) => {
                            (bar(sidecar.start, ready, "starting", "p-container"))
                            (bar(ready, end, name, classes))
                        }
                        None => (bar(sidecar.start, end, name, classes)),
                    }
                }
            }
        }
    }

    /// Returns the waits of a unit. Records of earlier versions have none, only the times of units.
    fn waits(&self, span: &UnitTimes, work: &UnitRecord) -> Markup {
        let job = || "waited for a free job slot".to_owned();
        let recorded = work.waits.iter().map(|wait| {
            let why = match wait.needs.as_slice() {
                [] => job(),
                needs => format!("waited for {}", needs.join(", ")),
            };
            (
                wait.start,
                wait.end.unwrap_or_else(|| self.report.end(work)),
                why,
            )
        });
        let before = work
            .waits
            .is_empty()
            .then(|| (span.ready, span.start, job()));
        let waits = recorded.chain(before);
        let waits = waits.filter(|(start, end, _)| end - start > 0.01);
        html! {
            @for (start, end, why) in waits {
                i.wait title={ (why) ": " (time(end - start)) } style=(self.position(start, end)) {}
            }
        }
    }

    fn step_bar(
        &self,
        unit_index: usize,
        work: &UnitRecord,
        index: usize,
        critical: bool,
    ) -> Markup {
        let step = &work.steps[index];
        let is_last = index + 1 == work.steps.len();
        let failed = is_last && work.failure.is_some();
        let end = step.end.unwrap_or_else(|| self.report.end(work));
        let mut classes = format!("p-{}", step.phase);
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
        let mut title = self.title(work, step, end, failed);
        // Only the first step of a phase shows the comparison of the phase.
        let comparison = self.report.history.phase(work, &step.phase);
        if let Some(comparison) = comparison.filter(|_| is_first) {
            let usual = time(comparison.usual);
            title.push_str(&match difference(&comparison) {
                (_, "quiet") => format!("\n{}: as usual, {usual}", step.phase),
                (words, _) => format!("\n{}: {words}, usually {usual}", step.phase),
            });
        }
        let log = self.logs.get(&(unit_index, step.phase.as_str()));
        self.bar(Bar {
            start: step.start,
            end,
            classes: &classes,
            title: &title,
            word: &step.phase,
            link: log.map(String::as_str),
        })
    }

    fn title(&self, work: &UnitRecord, step: &StepRecord, end: f64, failed: bool) -> String {
        let took = match (step.end, failed, self.report.state) {
            (Some(_), true, _) => "failed after ",
            (None, _, RunState::Running) => "so far ",
            (None, ..) => "cut off after ",
            _ => "",
        };
        format!(
            "{} · {}\n{}\n{took}{}, from {} to {}",
            work.name,
            step.phase,
            shortened(&step.title, TITLE),
            time(end - step.start),
            time(step.start),
            time(end)
        )
    }

    fn bar(&self, bar: Bar<'_>) -> Markup {
        let position = self.position(bar.start, bar.end);
        html! {
            @if let Some(id) = bar.link {
                a.bar.(bar.classes) href={ "#" (id) } style=(position) title=(bar.title) { (bar.word) }
            } @else {
                span.bar.(bar.classes) style=(position) title=(bar.title) { (bar.word) }
            }
        }
    }

    fn position(&self, start: f64, end: f64) -> String {
        let (left, right) = (self.percent(start), self.percent(end));
        let width = (right - left).max(0.0);
        format!("left:{left:.3}%;width:{width:.3}%")
    }

    /// Returns the critical path as a list.
    fn path(&self) -> Markup {
        let timeline = &self.report.timeline;
        let excluded = timeline.path.len().saturating_sub(LINKS);
        html! {
            p.path-text { "◆ Critical path, which determined when the run ended:" }
            ol.path {
                @if timeline.work_start > 0.0 {
                    li { span.link { "planning " small { (time(timeline.work_start)) } } }
                }
                @if excluded > 0 { li { small { (excluded) " more" } } }
                @for link in &timeline.path[excluded..] {
                    @let span = &timeline.spans[link.unit];
                    li {
                        @if matches!(link.cause, StartReason::Job) {
                            small { "after waiting for a free job slot:" }
                            " "
                        }
                        span.link {
                            (span.unit) " "
                            small { (time(span.worked)) (self.longest_phase(&span.unit)) }
                        }
                    }
                }
            }
        }
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
    classes: &'a str,
    title: &'a str,
    word: &'a str,
    link: Option<&'a str>,
}
