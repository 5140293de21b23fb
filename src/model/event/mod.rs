//! Events of a run, as data: the log of a run, and the lines of `--format json`.
//!
//! Work emits [`Event`]s and never prints; only `report/` turns them into bars, lines and files.
//! Pure: durations are measured by the emitter; no clock is read here.

mod ended;
mod image;
mod unit;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::base::error::Retrying;
use crate::base::plural::count_of;
use crate::base::seconds;
use crate::model::plan_document::PlanDocument;
use crate::model::trace::RunTrace;
pub use ended::{DockerfileLine, FailedStep, Outcome, RestoredPhase, UnitSummary};
pub use image::ImageResult;
pub use unit::{Phase, Unit};

/// The event
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// The command started; always the first line of a run
    Started {
        /// The version of xp
        xp: String,
        /// The command line
        command: String,
        /// The manifest file
        manifest: String,
        /// The trace that the run belongs to, if `TRACEPARENT` was set
        #[serde(default, skip_serializing_if = "Option::is_none")]
        trace: Option<RunTrace>,
    },
    /// A stage of planning started
    StageStarted {
        /// A description
        text: String,
    },
    /// The stage that started last has finished
    StageFinished,
    /// Planning has finished
    Planned {
        /// The plan, as printed by `xp plan --format json`
        plan: Box<PlanDocument>,
    },
    /// Work on units started
    WorkStarted {
        /// The names of the units
        #[schemars(with = "Vec<String>")]
        units: Vec<Unit>,
        /// The maximum number of concurrent units, apart from syncs, pulls and pushes
        jobs: usize,
    },
    /// A unit waits before its first step or its next one, which ends the wait
    UnitWaiting {
        /// The unit
        unit: Unit,
        /// The phase of the step
        phase: Phase,
        /// The units that it waits for; if empty, for a free job slot or transfer
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        #[schemars(with = "Vec<String>")]
        needs: Vec<Unit>,
    },
    /// Work on a unit started
    UnitStarted {
        /// The unit's name, as in the plan
        unit: Unit,
    },
    /// A step started
    StepStarted {
        /// The unit
        unit: Unit,
        /// The phase, as in the names of log files
        phase: Phase,
        /// A description; for a script, its text
        title: String,
    },
    // A step emits raw bytes; the journal splits them into lines.
    /// A step printed a line; not in `run.jsonl`, because the logs have the raw output
    Output {
        /// The unit
        unit: Unit,
        /// The phase
        phase: Phase,
        /// The line, without control characters, and truncated if it is very long
        #[serde(rename = "line", with = "as_text")]
        #[schemars(with = "String")]
        bytes: Bytes,
    },
    /// Progress of a transfer; at most ten per second, and not in `run.jsonl`
    Progress {
        /// The unit
        unit: Unit,
        /// The phase
        phase: Phase,
        /// The amount done
        done: u64,
        /// The total amount; omitted if unknown
        #[serde(default, skip_serializing_if = "Option::is_none")]
        total: Option<u64>,
        /// The unit of `done` and `total`
        measure: Measure,
        /// The bytes transferred so far
        bytes: u64,
    },
    /// A step succeeded
    StepFinished {
        /// The unit
        unit: Unit,
        /// The phase
        phase: Phase,
        /// The duration in seconds
        #[serde(rename = "seconds", with = "seconds")]
        #[schemars(with = "f64")]
        elapsed: Duration,
    },
    /// The result of a phase was restored, or the phase passed before, so it was not run
    PhaseRestored {
        /// The unit
        unit: Unit,
        /// The phase
        #[serde(flatten)]
        restored: RestoredPhase,
    },
    /// A container beside the scripts started: a sidecar, or the new image under the service's name
    SidecarStarted {
        /// The unit
        unit: Unit,
        /// The host name
        sidecar: String,
        /// The image; the ID of a new image
        image: String,
    },
    /// A container beside the scripts is ready
    SidecarReady {
        /// The unit
        unit: Unit,
        /// The host name
        sidecar: String,
        /// The seconds since its start
        #[serde(rename = "seconds", with = "seconds")]
        #[schemars(with = "f64")]
        elapsed: Duration,
    },
    /// A container beside the scripts printed a line; not in `run.jsonl`, because the logs have the raw output
    SidecarOutput {
        /// The unit
        unit: Unit,
        /// The host name
        sidecar: String,
        /// The line, without control characters, and truncated if it is very long
        #[serde(rename = "line", with = "as_text")]
        #[schemars(with = "String")]
        bytes: Bytes,
    },
    /// A container beside the scripts ended
    SidecarEnded {
        /// The unit
        unit: Unit,
        /// The host name
        sidecar: String,
        /// The exit code, if it ended by itself
        #[serde(default, skip_serializing_if = "Option::is_none")]
        exit: Option<i64>,
    },
    /// A JUnit XML file that the scripts wrote was kept
    TestReport {
        /// The unit
        unit: Unit,
        /// The file, relative to the service's folder
        file: String,
        /// The copy in the folder of the logs; empty if it could not be written
        copy: String,
        /// The content
        #[serde(skip)]
        #[schemars(skip)]
        bytes: Bytes,
    },
    /// Work on a unit finished
    UnitFinished {
        /// The unit
        unit: Unit,
        /// The result
        #[serde(flatten)]
        ended: UnitSummary,
    },
    /// A note
    Note {
        /// The text
        text: String,
    },
    /// A warning
    Warning {
        /// The text
        text: String,
    },
    /// A request failed temporarily and will be retried
    Retrying {
        /// The unit, if the request is part of a step
        #[serde(default, skip_serializing_if = "Option::is_none")]
        unit: Option<Unit>,
        /// What is retried, and when
        #[serde(flatten)]
        retrying: Retrying,
    },
    /// With `--watch`: files changed, so images will be built or deployed
    WatchChanged {
        /// The service, or `builders/` and the name of a builder; omitted for the manifest and compose files
        #[serde(default, skip_serializing_if = "Option::is_none")]
        unit: Option<Unit>,
        /// The first changed files, relative to the service's folder
        files: Vec<String>,
        /// The number of changed files
        count: usize,
    },
    /// With `--watch`: xp waits for changes; between `finished` of one run and `started` of the next
    WatchWaiting {
        /// The watched services
        #[schemars(with = "Vec<String>")]
        units: Vec<Unit>,
        /// The number of watched folders
        folders: usize,
    },
    /// Ctrl-C was pressed; running work is being stopped
    Interrupted,
    /// The command finished; always the last line of a run
    Finished {
        /// The exit code of the process
        exit: u8,
        /// The error message, unless a unit failed
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message: Option<String>,
        /// The folder with the logs
        #[serde(default, skip_serializing_if = "Option::is_none")]
        logs: Option<String>,
    },
    /// An event of a newer version of xp
    #[serde(other)]
    #[schemars(skip)]
    Unknown,
}

impl Event {
    /// Returns a note, such as waiting for another `xp`.
    pub fn note(text: impl Into<String>) -> Self {
        Self::Note { text: text.into() }
    }

    /// Returns a warning.
    pub fn warning(text: impl Into<String>) -> Self {
        Self::Warning { text: text.into() }
    }

    /// Returns the start of a stage of planning, such as `resolving 3 remotes`.
    pub fn stage(text: impl Into<String>) -> Self {
        Self::StageStarted { text: text.into() }
    }
}

/// Returns the text of [`Event::WatchChanged`], such as `zbackend: src/main.rs changed, and 2 more files`.
pub fn watch_changed(unit: Option<&Unit>, files: &[String], count: usize) -> String {
    let before = unit.map(|unit| format!("{unit}: ")).unwrap_or_default();
    let more = match count.saturating_sub(1) {
        0 => String::new(),
        more => format!(", and {}", count_of(more, "more file")),
    };
    match files.first() {
        Some(file) => format!("{before}{file} changed{more}"),
        None => format!("{before}{} changed", count_of(count, "file")),
    }
}

/// Returns the text of [`Event::WatchWaiting`].
pub fn watch_waiting(units: usize, folders: usize) -> String {
    format!(
        "Watching {} ({}). Ctrl-C to stop.",
        count_of(units, "service"),
        count_of(folders, "folder")
    )
}

/// Returns the name of a sidecar's log, next to those of the phases.
pub fn sidecar_log(sidecar: &str) -> String {
    format!("sidecar-{sidecar}")
}

/// The unit of `done` and `total`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Measure {
    /// Bytes
    Bytes,
    /// Objects that git receives
    Objects,
    /// Deltas that git resolves
    Deltas,
    /// Files that are checked out or fetched
    Files,
}

/// Bytes as text in JSON.
mod as_text {
    use bytes::Bytes;
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(bytes: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&String::from_utf8_lossy(bytes))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        Ok(String::deserialize(deserializer)?.into())
    }
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
