//! Events of a run, as data.
//!
//! Work emits [`Event`]s and never prints; only `report/` turns them into bars, lines and files.
//! Pure: durations are measured by the emitter; no clock is read here.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::base::error::Retrying;
use crate::model::image::ImageReference;
use crate::model::manifest::{BuilderName, ServiceName};
use crate::model::record::{Measure, PlanDocument};

/// A unit of work: a service, a builder image or a Kubernetes workload.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Unit {
    /// A builder image that is built from a folder of the platform.
    Builder(BuilderName),
    /// A builder image that is pulled.
    External(ImageReference),
    /// A service.
    Service(ServiceName),
    /// A Kubernetes workload, such as `deployment/zbackend`.
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
    /// Tags are set on an existing image.
    Tag,
    /// A workload is rolled out.
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
    /// It was not started, because this unit, which it needs, failed.
    Blocked(Unit),
    /// It was stopped or not started, because the run was interrupted or another unit failed with `--fail-fast`.
    Stopped,
}

/// The step at which a unit failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedStep {
    /// The phase.
    pub phase: Phase,
    /// What failed and why, including the causes.
    pub message: String,
    /// What the user can do about it.
    pub hints: Vec<String>,
    /// Whether something external (engine, registry, git remote) was missing or refused the request.
    pub outside: bool,
    /// The line of the manifest that the step comes from, counted from 1.
    pub line: Option<usize>,
    /// A shell command to repeat the step manually.
    pub by_hand: Option<String>,
}

/// An event of a run.
#[derive(Debug, Clone)]
pub enum Event {
    /// A note, such as waiting for another `xp`.
    Note(String),
    /// A warning.
    Warning(String),
    /// A request failed temporarily and will be retried.
    Retrying {
        /// The unit, if it was part of a step; then its log has it too.
        unit: Option<Unit>,
        /// What is retried, and when.
        retrying: Retrying,
    },
    /// A stage of planning starts, such as `resolving 3 remotes`.
    StageStarted(String),
    /// The stage that started last has ended.
    StageFinished,
    /// Planning is finished, and the work starts.
    Planned(Arc<PlanDocument>),
    /// Work on units starts.
    RunStarted {
        /// The units that have steps.
        units: Vec<Unit>,
        /// The maximum number of concurrent units.
        jobs: usize,
    },
    /// Work on a unit starts.
    UnitStarted {
        /// The unit.
        unit: Unit,
    },
    /// A step starts.
    StepStarted {
        /// The unit.
        unit: Unit,
        /// The phase.
        phase: Phase,
        /// The step as text, such as the script line.
        title: String,
    },
    /// Output of a step: raw bytes, not split at line ends.
    Output {
        /// The unit.
        unit: Unit,
        /// The phase.
        phase: Phase,
        /// The output.
        bytes: Bytes,
    },
    /// Progress of a transfer.
    Progress {
        /// The unit.
        unit: Unit,
        /// The phase.
        phase: Phase,
        /// The unit of `done` and `total`.
        measure: Measure,
        /// The amount done.
        done: u64,
        /// The total amount; zero if unknown.
        total: u64,
        /// The bytes transferred so far; same as `done` if that counts bytes.
        bytes: u64,
    },
    /// A step succeeded.
    StepFinished {
        /// The unit.
        unit: Unit,
        /// The phase.
        phase: Phase,
        /// How long it took.
        elapsed: Duration,
    },
    /// Work on a unit ended.
    UnitFinished {
        /// The unit.
        unit: Unit,
        /// The outcome.
        outcome: Outcome,
        /// How long it took.
        elapsed: Duration,
    },
    /// Ctrl-C was pressed; running work is being stopped.
    Interrupted,
}

/// The event sink. Cheap to clone.
#[derive(Clone)]
pub struct Events(Arc<dyn Fn(Event) + Send + Sync>);

impl Events {
    /// Returns a sink that calls `draw` for each event, on the emitting thread.
    ///
    /// Emitting blocks until `draw` returns. This slows down scripts that print faster than the log is written, and
    /// keeps memory bounded.
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
