//! A run, reconstructed from its events.

use std::collections::BTreeSet;

use super::{EventLine, PlanDocument, UnitKind};
use crate::model::event::{
    Event, FailedStep, ImageResult, Outcome, Phase, RestoredPhase, Unit, sidecar_log,
};
use crate::model::source::ReferenceOrigin;
use crate::model::trace::RunTrace;

/// The content of `run.jsonl`; incomplete if the run was killed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RunRecord {
    /// The start time: RFC 3339, UTC.
    pub time: String,
    /// The version of xp.
    pub xp: String,
    /// The command line.
    pub command: String,
    /// The manifest file.
    pub manifest: String,
    /// The trace that the run belongs to, if its caller had one.
    pub trace: Option<RunTrace>,
    /// The stages of planning, by start time.
    pub stages: Vec<StageRecord>,
    /// The plan; `None` for a run that only syncs.
    pub plan: Option<PlanDocument>,
    /// Seconds from the start of the run to the start of work on units; `None` if there was no work.
    pub work_start: Option<f64>,
    /// The maximum number of concurrent units.
    pub jobs: Option<usize>,
    /// The units, in the order of their first event.
    pub units: Vec<UnitRecord>,
    /// Notes and warnings.
    pub notes: Vec<String>,
    /// Seconds from the start to the last event.
    pub seconds: f64,
    /// The exit code; `None` if the run was killed or is still running.
    pub exit: Option<u8>,
    /// The error, if it was not a unit that failed.
    pub message: Option<String>,
}

/// A stage of planning.
#[derive(Debug, Clone, PartialEq)]
pub struct StageRecord {
    /// A description.
    pub text: String,
    /// The start, in seconds since the start of the run.
    pub start: f64,
    /// The end, in seconds since the start of the run; `None` if unknown.
    pub end: Option<f64>,
}

/// The work on one unit.
#[derive(Debug, Clone, PartialEq)]
pub struct UnitRecord {
    pub name: String,
    /// The start, in seconds since the start of the run.
    pub start: f64,
    /// The end, in seconds since the start of the run; `None` if unknown.
    pub end: Option<f64>,
    /// The outcome; `None` if unknown.
    pub outcome: Option<Outcome>,
    /// The failed unit that it needs.
    pub blocked_by: Option<String>,
    /// What failed.
    pub failure: Option<FailedStep>,
    /// The image, once it is done.
    pub image: Option<ImageResult>,
    /// Its steps, in order.
    pub steps: Vec<StepRecord>,
    /// Its waits, in order.
    pub waits: Vec<WaitRecord>,
    /// The containers beside its scripts, by start time.
    pub sidecars: Vec<SidecarRecord>,
    /// The phases that were not run, because their results were restored.
    pub restored: Vec<RestoredPhase>,
    /// The test reports that were kept, in order: paths relative to the service's folder.
    pub reports: Vec<String>,
}

/// A container beside the scripts of a unit.
#[derive(Debug, Clone, PartialEq)]
pub struct SidecarRecord {
    /// Its host name.
    pub name: String,
    /// The image; the ID of a new image.
    pub image: String,
    /// The name of its log.
    pub log: String,
    /// The start, in seconds since the start of the run.
    pub start: f64,
    /// When it was ready, if it was.
    pub ready: Option<f64>,
    /// The end; `None` if unknown.
    pub end: Option<f64>,
    /// The exit code, if it ended by itself.
    pub exit: Option<i64>,
}

/// A wait before a step.
#[derive(Debug, Clone, PartialEq)]
pub struct WaitRecord {
    /// The units that it waited for; if empty, for a free job slot or transfer.
    pub needs: Vec<String>,
    /// Seconds from the start of the run to its own start.
    pub start: f64,
    /// Seconds from the start of the run to its end; `None` if unknown.
    pub end: Option<f64>,
}

/// One step.
#[derive(Debug, Clone, PartialEq)]
pub struct StepRecord {
    pub phase: String,
    /// A description.
    pub title: String,
    /// The start, in seconds since the start of the run.
    pub start: f64,
    /// The end, in seconds since the start of the run; `None` if unknown.
    pub end: Option<f64>,
    /// Whether it succeeded.
    pub done: bool,
}

impl UnitRecord {
    /// Returns whether it is waiting, or was when the record ended.
    pub fn is_waiting(&self) -> bool {
        self.waits.last().is_some_and(|wait| wait.end.is_none())
    }

    /// Returns how long it worked until it ended, or until `end`: without its waits.
    pub fn worked(&self, end: f64) -> f64 {
        let end = self.end.unwrap_or(end);
        let waits = self.waits.iter();
        let waited = waits.map(|wait| {
            let wait_end = wait.end.unwrap_or(end).min(end);
            (wait_end - wait.start.max(self.start)).max(0.0)
        });
        (end - self.start - waited.sum::<f64>()).max(0.0)
    }

    fn end_wait(&mut self, at: f64) {
        if let Some(wait) = self.waits.last_mut() {
            wait.end.get_or_insert(at);
        }
    }

    /// Returns the names of its logs in order, without duplicates: those of phases, then those of sidecars.
    pub fn logs(&self) -> Vec<&str> {
        let mut logs = self.phases();
        for sidecar in &self.sidecars {
            if !logs.contains(&sidecar.log.as_str()) {
                logs.push(&sidecar.log);
            }
        }
        logs
    }

    fn sidecar_mut(&mut self, name: &str) -> Option<&mut SidecarRecord> {
        self.sidecars.iter_mut().rfind(|it| it.name == name)
    }

    /// Returns its phases in order, without duplicates.
    pub fn phases(&self) -> Vec<&str> {
        let mut phases: Vec<&str> = Vec::new();
        for step in &self.steps {
            if !phases.contains(&step.phase.as_str()) {
                phases.push(&step.phase);
            }
        }
        phases
    }
}

impl RunRecord {
    /// Reads the lines of a run, skipping invalid ones: the last line of a killed run may be incomplete.
    pub fn read(text: &str) -> Self {
        let mut run = Self::default();
        for line in text.lines() {
            if let Ok(line) = serde_json::from_str::<EventLine>(line) {
                run.add(line);
            }
        }
        run
    }

    /// Returns the unit with that name, if there was any event about it.
    pub fn unit(&self, name: &str) -> Option<&UnitRecord> {
        self.units.iter().find(|unit| unit.name == name)
    }

    /// Returns the services that the run should have worked on and did not finish; `None` if there was no such service.
    ///
    /// The plan names them, because a run that was killed has no event of those that it did not start.
    pub fn unfinished_services(&self) -> Option<BTreeSet<String>> {
        let planned = self.plan.as_ref()?.units.iter();
        let mut planned = planned
            .filter(|unit| unit.kind == UnitKind::Service && !unit.steps.is_empty())
            .peekable();
        planned.peek()?;
        let outcome = |name: &str| self.unit(name).and_then(|unit| unit.outcome);
        let unfinished = planned.filter(|unit| outcome(&unit.name) != Some(Outcome::Done));
        Some(unfinished.map(|unit| unit.name.clone()).collect())
    }

    /// Returns whether options such as `--branch` or a lock selected commits, instead of the manifest.
    pub fn is_of_selected_commits(&self) -> bool {
        let selected = [
            ReferenceOrigin::Branch,
            ReferenceOrigin::Reference,
            ReferenceOrigin::Lock,
        ];
        let mut planned = self.plan.iter().flat_map(|plan| &plan.units);
        planned.any(|unit| {
            let origin = unit.origin.as_deref();
            selected.iter().any(|it| origin == Some(it.as_str()))
        })
    }

    /// Returns whether working copies were built.
    pub fn is_of_working_copies(&self) -> bool {
        let mut planned = self.plan.iter().flat_map(|plan| &plan.units);
        let local = ReferenceOrigin::WorkingCopy.as_str();
        planned.any(|unit| unit.origin.as_deref() == Some(local))
    }

    /// Returns the logs as unit and name, in order, without duplicates.
    pub fn logs(&self) -> Vec<(&str, &str)> {
        let units = self.units.iter();
        let logs =
            units.flat_map(|unit| unit.logs().into_iter().map(|it| (unit.name.as_str(), it)));
        logs.collect()
    }

    /// Returns the failed units by name, because their start order differs between runs.
    pub fn failed(&self) -> impl Iterator<Item = &UnitRecord> {
        let failed = |unit: &&UnitRecord| unit.outcome == Some(Outcome::Failed);
        let mut units: Vec<&UnitRecord> = self.units.iter().filter(failed).collect();
        units.sort_by(|a, b| a.name.cmp(&b.name));
        units.into_iter()
    }

    fn add(&mut self, line: EventLine) {
        let at = line.elapsed;
        self.seconds = self.seconds.max(at);
        match line.event {
            Event::Started {
                xp,
                command,
                manifest,
                trace,
            } => {
                self.trace = trace;
                (self.time, self.xp) = (line.time, xp);
                (self.command, self.manifest) = (command, manifest);
            }
            Event::Planned { plan } => self.plan = Some(*plan),
            Event::StageStarted { text } => self.stages.push(StageRecord {
                text,
                start: at,
                end: None,
            }),
            Event::StageFinished => {
                let mut last_first = self.stages.iter_mut().rev();
                if let Some(stage) = last_first.find(|stage| stage.end.is_none()) {
                    stage.end = Some(at);
                }
            }
            Event::WorkStarted { jobs, .. } => {
                (self.jobs, self.work_start) = (Some(jobs), Some(at));
            }
            Event::UnitWaiting { unit, needs, .. } => {
                let unit = self.unit_mut(&unit, at);
                unit.end_wait(at);
                unit.waits.push(WaitRecord {
                    needs: needs.iter().map(ToString::to_string).collect(),
                    start: at,
                    end: None,
                });
            }
            Event::UnitStarted { unit } => {
                let unit = self.unit_mut(&unit, at);
                unit.end_wait(at);
                // The first event may have been that of a wait.
                unit.start = at;
            }
            Event::StepStarted { unit, phase, title } => {
                let unit = self.unit_mut(&unit, at);
                unit.end_wait(at);
                let is_verified = unit.steps.last().is_some_and(|it| it.phase == "image");
                if phase == Phase::Container && !is_verified {
                    // The scripts run again.
                    unit.reports.clear();
                }
                unit.steps.push(StepRecord {
                    phase: phase.to_string(),
                    title,
                    start: at,
                    end: None,
                    done: false,
                });
            }
            Event::PhaseRestored { unit, restored } => {
                self.unit_mut(&unit, at).restored.push(restored);
            }
            Event::SidecarStarted {
                unit,
                sidecar,
                image,
            } => {
                let log = sidecar_log(&sidecar);
                self.unit_mut(&unit, at).sidecars.push(SidecarRecord {
                    name: sidecar,
                    image,
                    log,
                    start: at,
                    ready: None,
                    end: None,
                    exit: None,
                });
            }
            Event::SidecarReady { unit, sidecar, .. } => {
                if let Some(sidecar) = self.unit_mut(&unit, at).sidecar_mut(&sidecar) {
                    sidecar.ready = Some(at);
                }
            }
            Event::SidecarEnded {
                unit,
                sidecar,
                exit,
            } => {
                if let Some(sidecar) = self.unit_mut(&unit, at).sidecar_mut(&sidecar) {
                    (sidecar.end, sidecar.exit) = (Some(at), exit);
                }
            }
            Event::TestReport { unit, file, .. } => {
                self.unit_mut(&unit, at).reports.push(file);
            }
            Event::StepFinished { unit, .. } => {
                if let Some(step) = self.unit_mut(&unit, at).steps.last_mut() {
                    step.end = Some(at);
                    step.done = true;
                }
            }
            Event::UnitFinished { unit, ended } => {
                let unit = self.unit_mut(&unit, at);
                unit.end_wait(at);
                unit.end = Some(at);
                unit.outcome = Some(ended.outcome);
                unit.blocked_by = ended.blocked_by.map(|needed| needed.to_string());
                unit.failure = ended.failure.map(|failure| *failure);
                unit.image = ended.image.map(|image| *image);
                // A failed step has no separate event; the unit's event ends it.
                if let Some(step) = unit.steps.last_mut() {
                    step.end.get_or_insert(at);
                }
            }
            Event::Note { text } | Event::Warning { text } => self.notes.push(text),
            Event::Retrying { retrying, .. } => self.notes.push(format!(
                "{}: {}: {}; retried",
                retrying.host, retrying.request, retrying.why
            )),
            Event::Finished { exit, message, .. } => {
                self.exit = Some(exit);
                self.message = message;
            }
            Event::Output { .. }
            | Event::SidecarOutput { .. }
            | Event::Progress { .. }
            | Event::WatchChanged { .. }
            | Event::WatchWaiting { .. }
            | Event::Interrupted
            | Event::Unknown => {}
        }
    }

    fn unit_mut(&mut self, unit: &Unit, at: f64) -> &mut UnitRecord {
        let name = unit.to_string();
        // Search backwards: units with current events are at the end.
        let index = match self.units.iter().rposition(|unit| unit.name == name) {
            Some(index) => index,
            None => {
                self.units.push(UnitRecord {
                    name,
                    start: at,
                    end: None,
                    outcome: None,
                    blocked_by: None,
                    failure: None,
                    image: None,
                    steps: Vec::new(),
                    waits: Vec::new(),
                    sidecars: Vec::new(),
                    restored: Vec::new(),
                    reports: Vec::new(),
                });
                self.units.len() - 1
            }
        };
        &mut self.units[index]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(elapsed: f64, event: &str) -> String {
        format!(r#"{{"version":1,"time":"2026-01-01T00:00:00.000Z","elapsed":{elapsed},{event}}}"#)
    }

    #[test]
    fn failed_units_are_sorted_by_name() {
        let failed = |unit: &str| {
            let event = r#""event":"unit-finished","seconds":0,"outcome":"failed""#;
            line(1.0, &format!(r#"{event},"unit":"{unit}""#))
        };
        for began in [["a", "b"], ["b", "a"]] {
            let run = RunRecord::read(&began.map(failed).join("\n"));
            let names: Vec<&str> = run.failed().map(|unit| unit.name.as_str()).collect();
            assert_eq!(names, ["a", "b"]);
        }
    }

    #[test]
    fn a_run_is_reconstructed_from_its_events() {
        let text = [
            line(
                0.0,
                r#""event":"started","xp":"0.1.0","command":"xp build","manifest":"x-platform.yml""#,
            ),
            line(0.5, r#""event":"unit-started","unit":"a""#),
            line(
                0.5,
                r#""event":"step-started","unit":"a","phase":"build","title":"make""#,
            ),
            line(
                2.0,
                r#""event":"step-finished","unit":"a","phase":"build","seconds":1.5"#,
            ),
            line(
                2.0,
                r#""event":"step-started","unit":"a","phase":"test","title":"make test""#,
            ),
            line(
                3.0,
                r#""event":"unit-finished","unit":"a","outcome":"failed","seconds":2.5,
                "failure":{"phase":"test","message":"no","hints":[],"outside":false,"tail":["x"]}"#,
            )
            .replace('\n', ""),
            line(
                3.0,
                r#""event":"unit-finished","unit":"b","outcome":"blocked","seconds":0,"blocked_by":"a""#,
            ),
            line(3.1, r#""event":"finished","exit":1"#),
        ];
        let run = RunRecord::read(&text.join("\n"));
        assert_eq!((run.command.as_str(), run.exit), ("xp build", Some(1)));
        assert_eq!(run.seconds, 3.1);
        let a = run.unit("a").unwrap();
        assert_eq!(a.outcome, Some(Outcome::Failed));
        assert_eq!(a.failure.as_ref().unwrap().tail, ["x"]);
        let steps: Vec<_> = a.steps.iter().map(|it| (it.end, it.done)).collect();
        assert_eq!(steps, [(Some(2.0), true), (Some(3.0), false)]);
        assert_eq!(run.unit("b").unwrap().blocked_by.as_deref(), Some("a"));
    }

    #[test]
    fn what_a_killed_run_did_not_start_is_unfinished() {
        let unit = |name: &str, kind: &str, steps: &str| {
            format!(
                r#"{{"name":"{name}","kind":"{kind}","image":"i","decision":"build","reason":"r","changes":[],"after":[],"steps":[{steps}]}}"#
            )
        };
        let step = r#"{"phase":"image","text":"docker build"}"#;
        let units = [
            unit("builders/b", "builder", step),
            unit("done", "service", step),
            unit("failed", "service", step),
            unit("killed", "service", step),
            unit("not-started", "service", step),
            unit("up-to-date", "service", ""),
        ];
        let planned = |units: &str| {
            let counts = r#"{"skip":0,"tag":0,"pull":0,"push":0,"build":0}"#;
            line(
                0.1,
                &format!(
                    r#""event":"planned","plan":{{"version":1,"counts":{counts},"units":[{units}]}}"#
                ),
            )
        };
        let text = [
            planned(&units.join(",")),
            line(
                1.0,
                r#""event":"unit-finished","unit":"done","outcome":"done","seconds":1"#,
            ),
            line(
                1.0,
                r#""event":"unit-finished","unit":"failed","outcome":"failed","seconds":1"#,
            ),
            line(2.0, r#""event":"unit-started","unit":"killed""#),
        ];
        let unfinished = RunRecord::read(&text.join("\n")).unfinished_services();
        let expected = ["failed", "killed", "not-started"].map(str::to_owned);
        assert_eq!(unfinished, Some(BTreeSet::from(expected)));
        // Neither a sync nor an update of builders is about images of services.
        for other in [&text[1], &planned(&units[0]), &planned(&units[5])] {
            assert_eq!(RunRecord::read(other).unfinished_services(), None);
        }
    }

    #[test]
    fn waits_end_with_the_next_step() {
        let text = [
            line(
                1.0,
                r#""event":"unit-waiting","unit":"a","phase":"sync","needs":["b"]"#,
            ),
            line(3.0, r#""event":"unit-waiting","unit":"a","phase":"sync""#),
            line(4.0, r#""event":"unit-started","unit":"a""#),
            line(
                4.0,
                r#""event":"step-started","unit":"a","phase":"build","title":"make""#,
            ),
            line(
                6.0,
                r#""event":"step-finished","unit":"a","phase":"build","seconds":2"#,
            ),
            line(
                6.0,
                r#""event":"unit-waiting","unit":"a","phase":"image","needs":["b","c"]"#,
            ),
        ];
        let mut run = RunRecord::read(&text.join("\n"));
        let a = run.unit("a").unwrap();
        assert!(a.is_waiting());
        let waits: Vec<_> = a
            .waits
            .iter()
            .map(|it| (it.needs.len(), it.start, it.end))
            .collect();
        assert_eq!(
            waits,
            [(1, 1.0, Some(3.0)), (0, 3.0, Some(4.0)), (2, 6.0, None)]
        );
        assert_eq!((a.start, a.worked(10.0)), (4.0, 2.0));
        let end = r#""event":"unit-finished","unit":"a","outcome":"blocked","seconds":2,"blocked_by":"b""#;
        run.add(serde_json::from_str(&line(9.0, end)).unwrap());
        let a = run.unit("a").unwrap();
        assert!(!a.is_waiting());
        assert_eq!((a.end, a.worked(10.0)), (Some(9.0), 2.0));
    }

    #[test]
    fn incomplete_lines_and_unknown_events_are_skipped() {
        let text = [
            line(1.0, r#""event":"danced","with":"wolves""#),
            line(2.0, r#""event":"note","text":"x","more":1"#),
            r#"{"version":1,"time":"2026-01-01T0"#.to_owned(),
        ];
        let run = RunRecord::read(&text.join("\n"));
        assert_eq!((run.notes.len(), run.exit, run.seconds), (1, None, 2.0));
    }
}
