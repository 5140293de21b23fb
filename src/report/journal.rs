//! Events as lines of JSON, for other programs and for the record of the run.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use time::OffsetDateTime;
use time::macros::format_description;

use super::text::LineSplitter;
use crate::model::event::{Event, Phase, Unit};
use crate::model::record::{EventLine, VERSION};

/// Minimum time between two progress lines of a unit.
const PROGRESS: Duration = Duration::from_millis(100);

/// Turns events into lines of JSON.
pub struct Journal {
    start: Instant,
    /// Output without a line end so far.
    splitters: HashMap<(Unit, Phase), LineSplitter>,
    /// The same of sidecars.
    of_sidecars: HashMap<(Unit, String), LineSplitter>,
    progress: HashMap<Unit, Instant>,
}

impl Journal {
    /// Returns a journal that starts now.
    pub fn new() -> Self {
        Self {
            start: Instant::now(),
            splitters: HashMap::new(),
            of_sidecars: HashMap::new(),
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
                lines.map(|event| self.line(&event)).collect()
            }
            Event::SidecarOutput {
                unit,
                sidecar,
                bytes,
            } => {
                let key = (unit.clone(), sidecar.clone());
                let lines = self.of_sidecars.entry(key).or_default().push(bytes);
                let lines = lines
                    .into_iter()
                    .map(|line| sidecar_output(unit, sidecar, line));
                lines.map(|event| self.line(&event)).collect()
            }
            Event::SidecarEnded { unit, sidecar, .. } => {
                let key = (unit.clone(), sidecar.clone());
                let splitter = self.of_sidecars.remove(&key);
                let rest = splitter.and_then(|mut splitter| splitter.flush());
                let rest = rest.map(|line| sidecar_output(unit, sidecar, line));
                rest.iter().map(|event| self.line(event)).collect()
            }
            // An unfinished line is emitted when its step ends.
            Event::StepStarted { unit, .. }
            | Event::StepFinished { unit, .. }
            | Event::UnitFinished { unit, .. } => self.rest(unit),
            Event::Progress {
                unit, done, total, ..
            } => {
                let now = Instant::now();
                let last = self.progress.insert(unit.clone(), now);
                let is_end = total.is_some_and(|total| *done >= total);
                if !is_end && last.is_some_and(|last| now - last < PROGRESS) {
                    self.progress.extend(last.map(|last| (unit.clone(), last)));
                    return Vec::new();
                }
                vec![self.line(event)]
            }
            _ => Vec::new(),
        }
    }

    /// Returns an event as a line with the current time, line end included.
    pub fn line(&self, event: &Event) -> String {
        let line = EventLine {
            version: VERSION,
            time: now(),
            // Microseconds: more digits are noise.
            elapsed: (self.start.elapsed().as_secs_f64() * 1e6).round() / 1e6,
            event: event.clone(),
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
        rest.iter().map(|event| self.line(event)).collect()
    }
}

fn output(unit: &Unit, phase: Phase, line: String) -> Event {
    Event::Output {
        unit: unit.clone(),
        phase,
        bytes: line.into(),
    }
}

fn sidecar_output(unit: &Unit, sidecar: &str, line: String) -> Event {
    Event::SidecarOutput {
        unit: unit.clone(),
        sidecar: sidecar.to_owned(),
        bytes: line.into(),
    }
}

/// Returns the current time in UTC, to the millisecond.
pub fn now() -> String {
    let format =
        format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    OffsetDateTime::now_utc().format(format).unwrap_or_default()
}
