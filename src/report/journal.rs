//! Events as lines of JSON, for other programs and for the record of the run.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use time::OffsetDateTime;
use time::macros::format_description;

use super::Ended;
use super::text::LineSplitter;
use crate::base::error::sanitized;
use crate::model::event::{Event, FailedStep, Outcome, Phase, Unit};
use crate::model::record::{FailureDocument, Happened, Line, OutcomeDocument, VERSION};

/// Minimum time between two progress lines of a unit.
const PROGRESS: Duration = Duration::from_millis(100);

/// Turns events into lines of JSON.
pub struct Journal {
    start: Instant,
    /// Output without a line end so far.
    splitters: HashMap<(Unit, Phase), LineSplitter>,
    progress: HashMap<Unit, Instant>,
}

impl Journal {
    /// Returns a journal that starts now.
    pub fn new() -> Self {
        Self {
            start: Instant::now(),
            splitters: HashMap::new(),
            progress: HashMap::new(),
        }
    }

    /// Returns the output and progress lines of an event.
    pub fn streamed(&mut self, event: &Event) -> Vec<String> {
        match event {
            Event::Output { unit, phase, bytes } => {
                let splitter = self.splitters.entry((unit.clone(), *phase)).or_default();
                let lines = splitter.push(bytes);
                let lines = lines.into_iter().map(|line| output(unit, *phase, line));
                lines.map(|event| self.line(event)).collect()
            }
            // An unfinished line is emitted when its step ends.
            Event::StepStarted { unit, .. }
            | Event::StepFinished { unit, .. }
            | Event::UnitFinished { unit, .. } => self.rest(unit),
            Event::Progress {
                unit,
                phase,
                measure,
                done,
                total,
                bytes,
            } => {
                let now = Instant::now();
                let last = self.progress.insert(unit.clone(), now);
                let is_end = *total > 0 && done >= total;
                if !is_end && last.is_some_and(|last| now - last < PROGRESS) {
                    self.progress.extend(last.map(|last| (unit.clone(), last)));
                    return Vec::new();
                }
                vec![self.line(Happened::Progress {
                    unit: unit.to_string(),
                    phase: phase.to_string(),
                    done: *done,
                    total: Some(*total).filter(|total| *total > 0),
                    measure: *measure,
                    bytes: *bytes,
                })]
            }
            _ => Vec::new(),
        }
    }

    /// Returns an event as a line with the current time, line end included.
    pub fn line(&self, event: Happened) -> String {
        let line = Line {
            version: VERSION,
            time: now(),
            // Microseconds: more digits are noise.
            elapsed: (self.start.elapsed().as_secs_f64() * 1e6).round() / 1e6,
            event,
        };
        // Serializing plain strings and numbers cannot fail.
        let mut text = serde_json::to_string(&line).unwrap_or_default();
        text.push('\n');
        text
    }

    fn rest(&mut self, unit: &Unit) -> Vec<String> {
        let of_unit = self.splitters.iter_mut().filter(|((of, _), _)| of == unit);
        let rest: Vec<_> = of_unit
            .filter_map(|((_, phase), splitter)| Some(output(unit, *phase, splitter.flush()?)))
            .collect();
        rest.into_iter().map(|event| self.line(event)).collect()
    }
}

fn output(unit: &Unit, phase: Phase, line: String) -> Happened {
    Happened::Output {
        unit: unit.to_string(),
        phase: phase.to_string(),
        line,
    }
}

/// Returns the record of an event; output and progress are not recorded.
pub fn recorded(event: &Event, ended: Option<&Ended>) -> Option<Happened> {
    Some(match event {
        Event::Note(text) => Happened::Note { text: text.clone() },
        Event::Warning(text) => Happened::Warning { text: text.clone() },
        Event::Retrying { unit, retrying } => Happened::Retrying {
            unit: unit.as_ref().map(ToString::to_string),
            host: retrying.host.clone(),
            request: retrying.request.clone(),
            why: sanitized(&retrying.why).into_owned(),
            seconds: retrying.wait.as_secs_f64(),
            attempt: retrying.attempt,
            attempts: retrying.attempts,
        },
        Event::StageStarted(text) => Happened::StageStarted { text: text.clone() },
        Event::StageFinished => Happened::StageFinished,
        Event::Planned(plan) => Happened::Planned {
            plan: plan.as_ref().clone(),
        },
        Event::RunStarted { units, jobs } => Happened::WorkStarted {
            units: units.iter().map(ToString::to_string).collect(),
            jobs: *jobs,
        },
        Event::UnitStarted { unit } => Happened::UnitStarted {
            unit: unit.to_string(),
        },
        Event::StepStarted { unit, phase, title } => Happened::StepStarted {
            unit: unit.to_string(),
            phase: phase.to_string(),
            title: title.clone(),
        },
        Event::StepFinished {
            unit,
            phase,
            elapsed,
        } => Happened::StepFinished {
            unit: unit.to_string(),
            phase: phase.to_string(),
            seconds: elapsed.as_secs_f64(),
        },
        Event::UnitFinished {
            unit,
            outcome,
            elapsed,
        } => Happened::UnitFinished {
            unit: unit.to_string(),
            outcome: match outcome {
                Outcome::Done => OutcomeDocument::Done,
                Outcome::Failed(_) => OutcomeDocument::Failed,
                Outcome::Blocked(_) => OutcomeDocument::Blocked,
                Outcome::Stopped => OutcomeDocument::Stopped,
            },
            seconds: elapsed.as_secs_f64(),
            blocked_by: match outcome {
                Outcome::Blocked(needed) => Some(needed.to_string()),
                _ => None,
            },
            failure: match outcome {
                Outcome::Failed(step) => Some(failure(step, ended)),
                _ => None,
            },
        },
        Event::Interrupted => Happened::Interrupted,
        Event::Output { .. } | Event::Progress { .. } => return None,
    })
}

fn failure(step: &FailedStep, ended: Option<&Ended>) -> FailureDocument {
    FailureDocument {
        phase: step.phase.to_string(),
        message: step.message.clone(),
        hints: step.hints.clone(),
        outside: step.outside,
        line: step.line,
        by_hand: step.by_hand.clone(),
        log: ended.and_then(|ended| Some(ended.log.as_ref()?.display().to_string())),
        tail: ended.map(|ended| ended.tail.clone()).unwrap_or_default(),
    }
}

/// Returns the current time in UTC, to the millisecond.
pub fn now() -> String {
    let format =
        format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    OffsetDateTime::now_utc().format(format).unwrap_or_default()
}
