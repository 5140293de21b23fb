//! The stretches of a unit: steps that ran one after another without a wait in between.

use std::collections::{HashMap, HashSet};

use crate::model::event::Phase;
use crate::model::record::{RunRecord, UnitRecord};

/// How late an event may be recorded, in seconds.
const TOLERANCE: f64 = 0.001;

/// Steps of a unit that ran one after another, all with or all without a job.
#[derive(Debug, Clone, PartialEq)]
pub struct Stretch {
    /// The index of the unit's span.
    pub unit: usize,
    /// When everything was there that its first step waits for, except a job.
    pub ready: f64,
    pub start: f64,
    pub end: f64,
    /// Whether it took one of the jobs.
    pub takes_job: bool,
    /// The indexes of the stretches that ended before it could start: the unit's previous one, and those of other units.
    pub after: Vec<usize>,
}

impl Stretch {
    pub fn seconds(&self) -> f64 {
        self.end - self.start
    }
}

/// Returns the stretches of units, by unit; `end` is the end of the run.
pub fn stretches(
    run: &RunRecord,
    worked: &[&UnitRecord],
    work_start: f64,
    end: f64,
) -> Vec<Stretch> {
    let planned = PlannedNeeds::new(run);
    let mut all: Vec<Stretch> = Vec::new();
    let mut needs: Vec<HashSet<&str>> = Vec::new();
    for (index, unit) in worked.iter().enumerate() {
        let unit_end = unit.end.unwrap_or(end);
        let first = all.len();
        let mut ready = work_start;
        let mut phases = HashSet::new();
        // A unit without steps, such as one that was stopped at once.
        let steps = unit.steps.iter().map(|step| {
            let phase = Phase::from(step.phase.clone());
            (
                step.phase.as_str(),
                phase.takes_job(),
                step.start,
                step.end.unwrap_or(unit_end),
            )
        });
        let none = unit
            .steps
            .is_empty()
            .then_some(("", true, unit.start, unit_end));
        for (phase, takes_job, start, step_end) in steps.chain(none) {
            let waits = unit.waits.iter().filter(|wait| {
                let wait_end = wait.end.unwrap_or(f64::INFINITY);
                wait.start >= ready - TOLERANCE && wait_end <= start + TOLERANCE
            });
            let waits: Vec<_> = waits.collect();
            let mut needed: HashSet<&str> = HashSet::new();
            if phases.insert(phase) {
                needed.extend(planned.of(&unit.name, phase, phases.len() == 1));
            }
            needed.extend(
                waits
                    .iter()
                    .flat_map(|wait| &wait.needs)
                    .map(String::as_str),
            );
            let last = all[first..].last_mut();
            match last {
                Some(last)
                    if waits.is_empty() && needed.is_empty() && last.takes_job == takes_job =>
                {
                    last.end = step_end;
                }
                _ => {
                    let previous = (all.len() > first).then(|| all.len() - 1);
                    all.push(Stretch {
                        unit: index,
                        ready,
                        start,
                        end: step_end,
                        takes_job,
                        after: previous.into_iter().collect(),
                    });
                    needs.push(needed);
                }
            }
            ready = step_end;
        }
    }
    link(&mut all, &needs, worked);
    // A run of `xp sync` has jobs, and no step that takes one.
    if !all.iter().any(|stretch| stretch.takes_job) {
        for stretch in &mut all {
            stretch.takes_job = true;
        }
    }
    all
}

/// Adds the stretches of other units that each one waited for.
fn link(all: &mut [Stretch], needs: &[HashSet<&str>], worked: &[&UnitRecord]) {
    let indexes = worked.iter().enumerate();
    let indexes: HashMap<&str, usize> = indexes
        .map(|(index, it)| (it.name.as_str(), index))
        .collect();
    let mut of_unit: Vec<Vec<usize>> = vec![Vec::new(); worked.len()];
    for (index, stretch) in all.iter().enumerate() {
        of_unit[stretch.unit].push(index);
    }
    for (index, needs) in needs.iter().enumerate() {
        let start = all[index].start;
        let needed = needs.iter().filter_map(|name| {
            let candidates = of_unit[*indexes.get(name)?].iter().copied();
            candidates
                .rev()
                .find(|it| all[*it].end <= start + TOLERANCE)
        });
        let needed: Vec<usize> = needed.collect();
        let ready = needed
            .iter()
            .map(|it| all[*it].end)
            .fold(all[index].ready, f64::max);
        all[index].ready = ready.min(start);
        all[index].after.extend(needed);
    }
}

/// What the plan says about waits.
struct PlannedNeeds<'a> {
    /// By unit and phase.
    phases: HashMap<(&'a str, &'a str), &'a [String]>,
    /// By unit, for records of versions that did not record steps' waits.
    units: HashMap<&'a str, &'a [String]>,
}

impl<'a> PlannedNeeds<'a> {
    fn new(run: &'a RunRecord) -> Self {
        let units = || run.plan.iter().flat_map(|plan| &plan.units);
        let steps =
            units().flat_map(|unit| unit.steps.iter().map(|step| (unit.name.as_str(), step)));
        let phases: HashMap<_, _> = steps
            .filter(|(_, step)| !step.after.is_empty())
            .map(|(unit, step)| ((unit, step.phase.as_str()), step.after.as_slice()))
            .collect();
        let units = if phases.is_empty() {
            units()
                .map(|unit| (unit.name.as_str(), unit.after.as_slice()))
                .collect()
        } else {
            HashMap::new()
        };
        Self { phases, units }
    }

    fn of(&self, unit: &str, phase: &str, first: bool) -> impl Iterator<Item = &'a str> + use<'a> {
        let of_phase = self.phases.get(&(unit, phase)).copied();
        let of_unit = self.units.get(unit).copied().filter(|_| first);
        let needs = of_phase.or(of_unit).unwrap_or_default();
        needs.iter().map(String::as_str)
    }
}
