//! Machine-readable formats: events as JSON lines, and plans.
//!
//! The lines go to standard output with `--format json`, and to `run.jsonl` next to the logs of a run, which `xp logs`,
//! `xp report` and `xp shell --failed` read. This module only defines the data types.

mod plan;
mod run;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use plan::{
    ChangeDocument, Counts, DecisionDocument, Kind, PLAN_VERSION, PlanDocument, StepDocument,
    TrainDocument, UnitDocument,
};
pub use run::{RunRecord, StageRecord, StepRecord, UnitRecord};

/// The version of the format. Not incremented when events and fields are added.
pub const VERSION: u64 = 1;

/// One event of a run
///
/// Events and fields may be added without a new version; readers must ignore unknown ones.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(title = "xp build --format json")]
pub struct Line {
    /// The version of this format
    pub version: u64,
    /// The time of the event: RFC 3339, UTC
    pub time: String,
    /// Seconds since the command started, from a monotonic clock
    pub elapsed: f64,
    /// The event
    #[serde(flatten)]
    pub event: Happened,
}

/// The event
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Happened {
    /// The command started; always the first line
    Started {
        /// The version of xp
        xp: String,
        /// The command line
        command: String,
        /// The manifest file
        manifest: String,
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
        plan: PlanDocument,
    },
    /// Work on units started
    WorkStarted {
        /// The names of the units
        units: Vec<String>,
        /// The maximum number of concurrent units
        jobs: usize,
    },
    /// Work on a unit started
    UnitStarted {
        /// The unit's name, as in the plan
        unit: String,
    },
    /// A step started
    StepStarted {
        /// The unit
        unit: String,
        /// The phase, as in the names of log files
        phase: String,
        /// A description; for a script, its text
        title: String,
    },
    /// A step printed a line; not in `run.jsonl`, because the logs have the raw output
    Output {
        /// The unit
        unit: String,
        /// The phase
        phase: String,
        /// The line, without control characters, and truncated if it is very long
        line: String,
    },
    /// Progress of a transfer; at most ten per second, and not in `run.jsonl`
    Progress {
        /// The unit
        unit: String,
        /// The phase
        phase: String,
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
        unit: String,
        /// The phase
        phase: String,
        /// The duration in seconds
        seconds: f64,
    },
    /// Work on a unit finished
    UnitFinished {
        /// The unit
        unit: String,
        /// The outcome
        outcome: OutcomeDocument,
        /// The duration in seconds
        seconds: f64,
        /// The failed unit that it needs
        #[serde(default, skip_serializing_if = "Option::is_none")]
        blocked_by: Option<String>,
        /// What failed
        #[serde(default, skip_serializing_if = "Option::is_none")]
        failure: Option<FailureDocument>,
    },
    /// A note
    Note {
        /// The text, for people
        text: String,
    },
    /// A warning
    Warning {
        /// The text, for people
        text: String,
    },
    /// A request failed temporarily and will be retried
    Retrying {
        /// The unit, if the request is part of a step
        #[serde(default, skip_serializing_if = "Option::is_none")]
        unit: Option<String>,
        /// The host that failed
        host: String,
        /// The request, for people
        request: String,
        /// The error, for people
        why: String,
        /// The delay before the retry, in seconds
        seconds: f64,
        /// The number of the next attempt; the first one is 1
        attempt: u32,
        /// The maximum number of attempts
        attempts: u32,
    },
    /// Ctrl-C was pressed; running work is being stopped
    Interrupted,
    /// The command finished; always the last line
    Finished {
        /// The exit code of the process
        exit: u8,
        /// The error, for people, if it was not a unit that failed
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

/// The outcome of a unit
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OutcomeDocument {
    /// Every step succeeded
    Done,
    /// A step failed
    Failed,
    /// Not started, because a unit that it needs failed
    Blocked,
    /// Stopped or not started, because the run was interrupted or another unit failed
    Stopped,
}

/// What failed
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FailureDocument {
    /// The phase
    pub phase: String,
    /// What failed and why
    pub message: String,
    /// What the user can do about it
    pub hints: Vec<String>,
    /// Whether something external (engine, registry, git remote) was missing or refused the request
    pub outside: bool,
    /// The line of the step in the manifest
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// A shell command to repeat the step manually
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by_hand: Option<String>,
    /// The log file
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<String>,
    /// The last lines of the log
    pub tail: Vec<String>,
}

/// Returns the JSON Schema of [`Line`], the content of `schema/events.schema.json`.
pub fn schema() -> Value {
    schema_of::<Line>()
}

/// Returns the JSON Schema of [`PlanDocument`], the content of `schema/plan.schema.json`.
pub fn plan_schema() -> Value {
    schema_of::<PlanDocument>()
}

fn schema_of<T: JsonSchema>() -> Value {
    let generator = SchemaSettings::draft07().into_generator();
    generator.into_root_schema_for::<T>().to_value()
}
