//! What happened, as data.
//!
//! Work emits [`Event`]s and never prints; `report/` alone turns them into bars, lines and files.
//! Pure: an event carries durations that the work measured, and no clock is read here.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::error::Retrying;
use crate::image::ImageReference;
use crate::manifest::{BuilderName, ServiceName};
use crate::record::{Measure, PlanDocument};

/// What is worked on: a service, an image that a service's scripts run in, or what a cluster runs.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Unit {
    /// A builder image made from a folder of the platform.
    Builder(BuilderName),
    /// A builder image that is pulled.
    External(ImageReference),
    /// A service.
    Service(ServiceName),
    /// Something that a cluster runs, such as `deployment/zbackend`.
    Workload(String),
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Builder(name) => write!(f, "builders/{name}"),
            Self::External(image) => image.fmt(f),
            Self::Service(name) => name.fmt(f),
            Self::Workload(name) => name.fmt(f),
        }
    }
}

/// A phase of the work on one unit; each has its own log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Phase {
    /// The working copy is cloned, fetched or fast-forwarded.
    Sync,
    /// The commit is checked out into its export.
    Export,
    /// The builder container is started.
    Container,
    /// `scripts.prepare`
    Prepare,
    /// `scripts.build`
    Build,
    /// `scripts.test`
    Test,
    /// `docker build`
    Image,
    /// The image is pulled from the registry.
    Pull,
    /// The image is pushed to the registry.
    Push,
    /// Tags are set to an image that is there.
    Tag,
    /// A cluster replaces what runs.
    Rollout,
}

impl Phase {
    /// Returns the phase's name, as in the log's file name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sync => "sync",
            Self::Export => "export",
            Self::Container => "container",
            Self::Prepare => "prepare",
            Self::Build => "build",
            Self::Test => "test",
            Self::Image => "image",
            Self::Pull => "pull",
            Self::Push => "push",
            Self::Tag => "tag",
            Self::Rollout => "rollout",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How the work on a unit ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Every step succeeded.
    Done,
    /// A step failed.
    Failed(FailedStep),
    /// It was not started, as the named unit that it needs failed.
    Blocked(Unit),
    /// It was stopped, or not started, as the run was interrupted or another unit failed under
    /// `--fail-fast`.
    Stopped,
}

/// The step at which a unit failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedStep {
    /// In which phase.
    pub phase: Phase,
    /// What failed and why, the causes included.
    pub message: String,
    /// What a person can do about it.
    pub hints: Vec<String>,
    /// Whether something outside (engine, registry, git remote) was missing or refused.
    pub outside: bool,
    /// The line of the manifest that the step comes from, counted from 1.
    pub line: Option<usize>,
    /// A shell command that repeats the step by hand.
    pub by_hand: Option<String>,
}

/// Something that happened.
#[derive(Debug, Clone)]
pub enum Event {
    /// Something worth a line that is no failure, such as waiting for another `xp`.
    Note(String),
    /// Something that deserves attention.
    Warning(String),
    /// Something outside failed in a way that may pass, and is tried again.
    Retrying {
        /// For which unit, where it is a step of one; its log tells it then.
        unit: Option<Unit>,
        /// What, and when.
        retrying: Retrying,
    },
    /// A stage of the decision begins: what it does, such as `resolving 3 remotes`.
    StageStarted(String),
    /// The stage that began last is over.
    StageFinished,
    /// Everything is decided, and is carried out now.
    Planned(Arc<PlanDocument>),
    /// Work begins on so many units.
    RunStarted {
        /// The units that have steps.
        units: Vec<Unit>,
        /// How many are worked on at once.
        jobs: usize,
    },
    /// Work on a unit begins.
    UnitStarted {
        /// Which.
        unit: Unit,
    },
    /// A step begins.
    StepStarted {
        /// Of which unit.
        unit: Unit,
        /// In which phase.
        phase: Phase,
        /// The step in words, such as the script's line.
        title: String,
    },
    /// A step printed something: raw bytes, not cut at line ends.
    Output {
        /// Of which unit.
        unit: Unit,
        /// In which phase.
        phase: Phase,
        /// What was printed.
        bytes: Bytes,
    },
    /// A transfer went on.
    Progress {
        /// Of which unit.
        unit: Unit,
        /// In which phase.
        phase: Phase,
        /// What `done` and `total` count.
        measure: Measure,
        /// How much of it is done.
        done: u64,
        /// Zero where it is not known.
        total: u64,
        /// The bytes that were moved so far; the same as `done` where bytes are counted.
        bytes: u64,
    },
    /// A step ended well.
    StepFinished {
        /// Of which unit.
        unit: Unit,
        /// In which phase.
        phase: Phase,
        /// How long it took.
        elapsed: Duration,
    },
    /// Work on a unit ended.
    UnitFinished {
        /// Which.
        unit: Unit,
        /// How.
        outcome: Outcome,
        /// How long it took.
        elapsed: Duration,
    },
    /// Ctrl-C was pressed; running work is being stopped.
    Interrupted,
}

/// Where events go. Cheap to clone.
#[derive(Clone)]
pub struct Events(Arc<dyn Fn(Event) + Send + Sync>);

impl Events {
    /// Returns a sink that calls `draw` for each event, on the thread that emits it.
    ///
    /// Work waits for `draw`, so a script that prints faster than its log is written is slowed
    /// down, and memory stays bounded.
    pub fn new(draw: impl Fn(Event) + Send + Sync + 'static) -> Self {
        Self(Arc::new(draw))
    }

    /// Emits one event.
    pub fn emit(&self, event: Event) {
        (self.0)(event);
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Events")
    }
}
