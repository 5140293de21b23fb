//! How long the same took in earlier runs.

use std::collections::HashMap;

use crate::record::{OutcomeDocument, RunRecord, UnitRecord};

/// How many earlier times a comparison takes at most, the latest.
const COMPARED: usize = 10;

/// What counts as a change: this part of what is usual, and this many seconds.
const CHANGED: (f64, f64) = (0.1, 0.5);

/// How long units and their phases took in runs before one, where they ended well.
#[derive(Debug, Default)]
pub struct History {
    runs: HashMap<String, Vec<f64>>,
    units: HashMap<(String, String), Vec<f64>>,
    phases: HashMap<(String, String), Vec<f64>>,
}

/// A time beside those of earlier runs.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// The earlier times, the oldest first; at least one.
    pub earlier: Vec<f64>,
    /// Their median.
    pub usual: f64,
    /// By how much this time is longer.
    pub difference: f64,
}

impl History {
    /// Returns the history of runs, the oldest first.
    pub fn new<'a>(runs: impl IntoIterator<Item = &'a RunRecord>) -> Self {
        let mut history = Self::default();
        for run in runs {
            history.add(run);
        }
        history
    }

    /// Compares how long a run took with runs of the same command line that ended well.
    pub fn run(&self, run: &RunRecord) -> Option<Comparison> {
        if run.exit != Some(0) {
            return None;
        }
        compared(self.runs.get(&kind_of_run(run))?, run.seconds)
    }

    /// Compares how long a unit took that ended well, with the times that it took for the same phases: a
    /// pull is not compared with a build, nor one with tests with one without.
    pub fn unit(&self, unit: &UnitRecord) -> Option<Comparison> {
        let key = (unit.name.clone(), phases(unit));
        compared(self.units.get(&key)?, done_in(unit)?)
    }

    /// Compares how long a phase of a unit took, where it ended well.
    pub fn phase(&self, unit: &UnitRecord, phase: &str) -> Option<Comparison> {
        let key = (unit.name.clone(), phase.to_owned());
        compared(self.phases.get(&key)?, phase_done_in(unit, phase)?)
    }

    fn add(&mut self, run: &RunRecord) {
        if run.exit == Some(0) {
            let times = self.runs.entry(kind_of_run(run)).or_default();
            times.push(run.seconds);
        }
        for unit in &run.units {
            if let Some(seconds) = done_in(unit) {
                let key = (unit.name.clone(), phases(unit));
                self.units.entry(key).or_default().push(seconds);
            }
            for phase in unit.phases() {
                if let Some(seconds) = phase_done_in(unit, phase) {
                    let key = (unit.name.clone(), phase.to_owned());
                    self.phases.entry(key).or_default().push(seconds);
                }
            }
        }
    }
}

impl Comparison {
    /// Returns by what part of what is usual this time is longer; none where it is too near to tell.
    pub fn change(&self) -> Option<f64> {
        let (part, seconds) = CHANGED;
        let difference = self.difference.abs();
        (difference > seconds && difference > part * self.usual && self.usual > 0.0)
            .then(|| self.difference / self.usual)
    }
}

/// Returns the median; none of no times.
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

fn compared(times: &[f64], now: f64) -> Option<Comparison> {
    let earlier = times[times.len().saturating_sub(COMPARED)..].to_vec();
    let usual = median(&earlier)?;
    Some(Comparison {
        earlier,
        usual,
        difference: now - usual,
    })
}

/// What makes runs comparable: the command, and whether there was anything to do.
fn kind_of_run(run: &RunRecord) -> String {
    let is_idle = run.units.is_empty();
    format!("{}\n{is_idle}", run.command)
}

fn done_in(unit: &UnitRecord) -> Option<f64> {
    (unit.outcome == Some(OutcomeDocument::Done)).then_some(unit.end? - unit.start)
}

fn phases(unit: &UnitRecord) -> String {
    unit.phases().join(" ")
}

fn phase_done_in(unit: &UnitRecord, phase: &str) -> Option<f64> {
    let steps = unit.steps.iter().filter(|step| step.phase == phase);
    let mut seconds = 0.0;
    for step in steps {
        seconds += step.done.then_some(step.end? - step.start)?;
    }
    Some(seconds)
}
