//! Durations in earlier runs.

use std::collections::HashMap;

use crate::model::event::Outcome;
use crate::model::record::{RunRecord, UnitRecord};

/// The maximum number of earlier durations to compare with.
const COMPARED: usize = 10;

/// The minimum change: this fraction of the usual duration, and this many seconds.
const CHANGED: (f64, f64) = (0.1, 0.5);

/// The durations of successful runs, units and phases in earlier runs.
#[derive(Debug, Default)]
pub struct RunHistory {
    runs: HashMap<String, Vec<f64>>,
    units: HashMap<(String, String), Vec<f64>>,
    phases: HashMap<(String, String), Vec<f64>>,
}

/// A duration, compared with those in earlier runs.
#[derive(Debug, Clone, PartialEq)]
pub struct DurationComparison {
    /// The earlier durations, oldest first; at least one.
    pub earlier: Vec<f64>,
    /// Their median.
    pub usual: f64,
    /// How much longer this duration is than usual.
    pub difference: f64,
}

impl RunHistory {
    /// Returns the history of runs, given oldest first.
    pub fn new<'a>(runs: impl IntoIterator<Item = &'a RunRecord>) -> Self {
        let mut history = Self::default();
        for run in runs {
            history.add(run);
        }
        history
    }

    /// Compares the duration of a run with successful runs of the same command line.
    pub fn run(&self, run: &RunRecord) -> Option<DurationComparison> {
        if run.exit != Some(0) {
            return None;
        }
        compared(self.runs.get(&comparison_key(run))?, run.seconds)
    }

    /// Compares the duration of a successful unit with earlier ones with the same phases: a pull is not compared with a
    /// build, nor a build with tests with one without.
    pub fn unit(&self, unit: &UnitRecord) -> Option<DurationComparison> {
        let key = (unit.name.clone(), phases(unit));
        compared(self.units.get(&key)?, successful_seconds(unit)?)
    }

    /// Compares the duration of a successful phase of a unit.
    pub fn phase(&self, unit: &UnitRecord, phase: &str) -> Option<DurationComparison> {
        let key = (unit.name.clone(), phase.to_owned());
        compared(
            self.phases.get(&key)?,
            successful_phase_seconds(unit, phase)?,
        )
    }

    fn add(&mut self, run: &RunRecord) {
        if run.exit == Some(0) {
            let times = self.runs.entry(comparison_key(run)).or_default();
            times.push(run.seconds);
        }
        for unit in &run.units {
            if let Some(seconds) = successful_seconds(unit) {
                let key = (unit.name.clone(), phases(unit));
                self.units.entry(key).or_default().push(seconds);
            }
            for phase in unit.phases() {
                if let Some(seconds) = successful_phase_seconds(unit, phase) {
                    let key = (unit.name.clone(), phase.to_owned());
                    self.phases.entry(key).or_default().push(seconds);
                }
            }
        }
    }
}

impl DurationComparison {
    /// Returns how much longer this is, as a fraction of the usual duration; `None` if the change is too small.
    pub fn change(&self) -> Option<f64> {
        let (part, seconds) = CHANGED;
        let difference = self.difference.abs();
        (difference > seconds && difference > part * self.usual && self.usual > 0.0)
            .then(|| self.difference / self.usual)
    }
}

/// Returns the median; `None` for an empty list.
pub fn median(times: &[f64]) -> Option<f64> {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        length if length % 2 == 1 => Some(sorted[middle]),
        _ => Some(f64::midpoint(sorted[middle - 1], sorted[middle])),
    }
}

fn compared(times: &[f64], now: f64) -> Option<DurationComparison> {
    let earlier = times[times.len().saturating_sub(COMPARED)..].to_vec();
    let usual = median(&earlier)?;
    Some(DurationComparison {
        earlier,
        usual,
        difference: now - usual,
    })
}

/// The key of comparable runs: the command line, and whether there was anything to do.
fn comparison_key(run: &RunRecord) -> String {
    let is_idle = run.units.is_empty();
    format!("{}\n{is_idle}", run.command)
}

fn successful_seconds(unit: &UnitRecord) -> Option<f64> {
    (unit.outcome == Some(Outcome::Done)).then_some(unit.worked(unit.end?))
}

fn phases(unit: &UnitRecord) -> String {
    unit.phases().join(" ")
}

fn successful_phase_seconds(unit: &UnitRecord, phase: &str) -> Option<f64> {
    let steps = unit.steps.iter().filter(|step| step.phase == phase);
    let mut seconds = 0.0;
    for step in steps {
        seconds += step.done.then_some(step.end? - step.start)?;
    }
    Some(seconds)
}
