//! The status of a run and of its units.

use crate::base::error::Exit;
use crate::model::event::{Outcome, Phase};
use crate::model::record::{DecisionDocument, RunRecord, UnitDocument, UnitRecord};

/// The status of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunState {
    /// Still running.
    Running,
    /// Ended without recording its end.
    Killed,
    /// Interrupted by Ctrl-C or SIGTERM.
    Interrupted,
    /// A unit failed, or something that all units need.
    Failed,
    /// Everything was up to date.
    NothingToDo,
    /// Succeeded.
    Done,
}

impl RunState {
    /// Returns the status of a run. `is_running` says whether a process is still working on it.
    pub fn new(record: &RunRecord, is_running: bool) -> Self {
        match record.exit {
            None if is_running => Self::Running,
            None => Self::Killed,
            Some(code) if code == Exit::Interrupted.code() => Self::Interrupted,
            Some(0) if record.units.is_empty() => Self::NothingToDo,
            Some(0) => Self::Done,
            Some(_) => Self::Failed,
        }
    }

    /// Returns the name that reports show.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Killed => "killed",
            Self::Interrupted => "interrupted",
            Self::Failed => "failed",
            Self::NothingToDo => "nothing to do",
            Self::Done => "done",
        }
    }
}

/// The status of a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum UnitStatus {
    /// A step failed.
    Failed,
    /// Stopped at work: the run was interrupted, or another unit failed.
    Stopped,
    /// The run was killed while it was running.
    CutOff,
    Running,
    /// Waiting for another unit or a free job slot, perhaps to start.
    Waiting,
    /// The run ended, or a unit that it needs failed, before it started.
    NotStarted,
    Built,
    Pushed,
    Pulled,
    Tagged,
    /// Done, without a plan that says what.
    Done,
    /// There was nothing to do.
    Skipped,
}

impl UnitStatus {
    /// Returns the status of a unit in a run.
    pub fn new(plan: Option<&UnitDocument>, work: Option<&UnitRecord>, state: RunState) -> Self {
        let is_running = state == RunState::Running;
        let is_waiting = work.is_some_and(UnitRecord::is_waiting);
        let has_steps = work.is_some_and(|work| !work.steps.is_empty());
        let is_begun = work.is_some_and(|work| {
            let sources = [Phase::Sync, Phase::Export, Phase::Fetch].map(Phase::as_str);
            let mut phases = work.steps.iter().map(|step| step.phase.as_str());
            phases.any(|phase| !sources.contains(&phase))
        });
        let has_work = plan.is_none_or(|plan| !plan.steps.is_empty());
        match work.map(|work| work.outcome) {
            Some(Some(Outcome::Done)) => match plan.map(|plan| &plan.decision) {
                None => Self::Done,
                Some(DecisionDocument::Skip) => Self::Skipped,
                Some(DecisionDocument::Tag) => Self::Tagged,
                Some(DecisionDocument::Pull) => Self::Pulled,
                Some(DecisionDocument::Push) => Self::Pushed,
                Some(DecisionDocument::Build) => Self::Built,
            },
            Some(Some(Outcome::Failed)) => Self::Failed,
            Some(Some(Outcome::Blocked | Outcome::Stopped)) if is_begun => Self::Stopped,
            Some(Some(Outcome::Blocked | Outcome::Stopped)) => Self::NotStarted,
            Some(None) if is_running && is_waiting => Self::Waiting,
            Some(None) if is_running => Self::Running,
            Some(None) if is_waiting && !has_steps => Self::NotStarted,
            Some(None) => Self::CutOff,
            None if !has_work => Self::Skipped,
            None if is_running => Self::Waiting,
            None => Self::NotStarted,
        }
    }

    /// Returns the name that reports show.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Stopped => "stopped",
            Self::CutOff => "cut off",
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::NotStarted => "not started",
            Self::Built => "built",
            Self::Pushed => "pushed",
            Self::Pulled => "pulled",
            Self::Tagged => "tagged",
            Self::Done => "done",
            Self::Skipped => "skipped",
        }
    }

    /// Returns the CSS class.
    pub const fn class(self) -> &'static str {
        match self {
            Self::Failed => "bad",
            Self::Stopped | Self::CutOff | Self::NotStarted => "warn",
            Self::Running | Self::Waiting => "live",
            Self::Built | Self::Pushed | Self::Pulled | Self::Tagged | Self::Done => "good",
            Self::Skipped => "quiet",
        }
    }
}
