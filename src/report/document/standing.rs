//! How a run and its units stand, in words.

use crate::error::Exit;
use crate::record::{DecisionDocument, OutcomeDocument, RunRecord, UnitDocument, UnitRecord};

/// How a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunState {
    /// It is under way.
    Running,
    /// It ended without a word.
    Killed,
    /// Ctrl-C was pressed.
    Interrupted,
    /// A unit failed, or what all of them need.
    Failed,
    /// Everything was there already.
    NothingToDo,
    /// Everything is done.
    Done,
}

impl RunState {
    /// Returns how a run stands, of which an xp that is at work on it may not have told the end.
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

    /// Returns it in words.
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

/// How a unit stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// A step failed.
    Failed,
    /// A unit that it needs failed.
    Blocked,
    /// The run was interrupted, or another unit failed.
    Stopped,
    /// The run was killed while it was worked on.
    CutOff,
    /// It is worked on.
    Running,
    /// It will be worked on.
    Waiting,
    /// The run ended before it was begun.
    NotBegun,
    /// It is built.
    Built,
    /// It is pushed.
    Pushed,
    /// It is pulled.
    Pulled,
    /// It has its tags.
    Tagged,
    /// What there is no plan of is done.
    Done,
    /// There was nothing to do.
    Skipped,
}

impl Standing {
    /// Returns how a unit stands in a run.
    pub fn new(plan: Option<&UnitDocument>, work: Option<&UnitRecord>, state: RunState) -> Self {
        let is_running = state == RunState::Running;
        let has_work = plan.is_none_or(|plan| !plan.steps.is_empty());
        match work.map(|work| work.outcome) {
            Some(Some(OutcomeDocument::Done)) => match plan.map(|plan| &plan.decision) {
                None => Self::Done,
                Some(DecisionDocument::Skip) => Self::Skipped,
                Some(DecisionDocument::Tag) => Self::Tagged,
                Some(DecisionDocument::Pull) => Self::Pulled,
                Some(DecisionDocument::Push) => Self::Pushed,
                Some(DecisionDocument::Build) => Self::Built,
            },
            Some(Some(OutcomeDocument::Failed)) => Self::Failed,
            Some(Some(OutcomeDocument::Blocked)) => Self::Blocked,
            Some(Some(OutcomeDocument::Stopped)) => Self::Stopped,
            Some(None) if is_running => Self::Running,
            Some(None) => Self::CutOff,
            None if !has_work => Self::Skipped,
            None if is_running => Self::Waiting,
            None => Self::NotBegun,
        }
    }

    /// Returns it in words.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Blocked => "blocked",
            Self::Stopped => "stopped",
            Self::CutOff => "cut off",
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::NotBegun => "not begun",
            Self::Built => "built",
            Self::Pushed => "pushed",
            Self::Pulled => "pulled",
            Self::Tagged => "tagged",
            Self::Done => "done",
            Self::Skipped => "skipped",
        }
    }

    /// Returns the group that it is shown in.
    pub const fn class(self) -> &'static str {
        match self {
            Self::Failed => "bad",
            Self::Blocked | Self::Stopped | Self::CutOff | Self::NotBegun => "warn",
            Self::Running | Self::Waiting => "live",
            Self::Built | Self::Pushed | Self::Pulled | Self::Tagged | Self::Done => "good",
            Self::Skipped => "quiet",
        }
    }
}
