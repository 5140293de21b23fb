//! What is told to other programs: events as lines of JSON, and plans.
//!
//! A line stands on standard output with `--format json`, and in `run.jsonl` beside the logs of a
//! run, from which `xp logs`, `xp report` and `xp shell --failed` know what happened. These are shapes
//! of data; what fills them is elsewhere.

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

/// The version of the format. It grows by further events and fields without a new one.
pub const VERSION: u64 = 1;

/// One event of a run
///
/// Events and fields may be added in the same version; a reader passes over those that it does not
/// know.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(title = "xp build --format json")]
pub struct Line {
    /// The version of this format
    pub version: u64,
    /// When it happened: RFC 3339, UTC
    pub time: String,
    /// Seconds since the command began, by a clock that never jumps
    pub elapsed: f64,
    /// What happened
    #[serde(flatten)]
    pub event: Happened,
}

/// What happened
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Happened {
    /// The command begins; the first line
    Started {
        /// The version of xp
        xp: String,
        /// The command line
        command: String,
        /// The manifest's file
        manifest: String,
    },
    /// A stage of the decision begins
    StageStarted {
        /// What it does, in words
        text: String,
    },
    /// The stage that began last is over
    StageFinished,
    /// Everything is decided
    Planned {
        /// As `xp plan --format json` prints it
        plan: PlanDocument,
    },
    /// Work on units begins
    WorkStarted {
        /// Their names
        units: Vec<String>,
        /// How many are worked on at once
        jobs: usize,
    },
    /// Work on a unit begins
    UnitStarted {
        /// Its name, as in the plan
        unit: String,
    },
    /// A step begins
    StepStarted {
        /// Of which unit
        unit: String,
        /// Its phase, as in the names of log files
        phase: String,
        /// What is done, in words; of a script its text
        title: String,
    },
    /// A step printed a line; not in `run.jsonl`, as the logs have it byte for byte
    Output {
        /// Of which unit
        unit: String,
        /// In which phase
        phase: String,
        /// The line, without control characters, and cut where it is very long
        line: String,
    },
    /// A transfer went on; ten a second at most, and not in `run.jsonl`
    Progress {
        /// Of which unit
        unit: String,
        /// In which phase
        phase: String,
        /// How much is done
        done: u64,
        /// How much there is; not there where it is not known
        #[serde(default, skip_serializing_if = "Option::is_none")]
        total: Option<u64>,
        /// What is counted
        measure: Measure,
        /// The bytes that were moved so far
        bytes: u64,
    },
    /// A step ended well
    StepFinished {
        /// Of which unit
        unit: String,
        /// In which phase
        phase: String,
        /// How long it took
        seconds: f64,
    },
    /// Work on a unit ended
    UnitFinished {
        /// Its name
        unit: String,
        /// How
        outcome: OutcomeDocument,
        /// How long it took
        seconds: f64,
        /// The unit that it needs, and that failed
        #[serde(default, skip_serializing_if = "Option::is_none")]
        blocked_by: Option<String>,
        /// What failed
        #[serde(default, skip_serializing_if = "Option::is_none")]
        failure: Option<FailureDocument>,
    },
    /// Something worth a line that is no failure
    Note {
        /// For people
        text: String,
    },
    /// Something that deserves attention
    Warning {
        /// For people
        text: String,
    },
    /// Something outside failed in a way that may pass, and is tried again
    Retrying {
        /// For which unit, where it is a step of one
        #[serde(default, skip_serializing_if = "Option::is_none")]
        unit: Option<String>,
        /// Which host failed
        host: String,
        /// What it was asked, for people
        request: String,
        /// How it failed, for people
        why: String,
        /// After how long it is tried again
        seconds: f64,
        /// Which attempt that will be; the first one is 1
        attempt: u32,
        /// How many there are at most
        attempts: u32,
    },
    /// Ctrl-C was pressed; running work is being stopped
    Interrupted,
    /// The command ends; the last line
    Finished {
        /// The exit code of the process
        exit: u8,
        /// What was wrong, for people, where it was no unit that failed
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message: Option<String>,
        /// The folder with the logs
        #[serde(default, skip_serializing_if = "Option::is_none")]
        logs: Option<String>,
    },
    /// An event of a later version of xp
    #[serde(other)]
    #[schemars(skip)]
    Unknown,
}

/// What is counted
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Measure {
    /// Bytes
    Bytes,
    /// Objects that git receives
    Objects,
    /// Objects that git received as differences, and makes whole
    Deltas,
    /// Files that are checked out or fetched
    Files,
}

/// How the work on a unit ended
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OutcomeDocument {
    /// Every step succeeded
    Done,
    /// A step failed
    Failed,
    /// It was not started, as a unit that it needs failed
    Blocked,
    /// It was stopped, or not started, as the run was interrupted or another unit failed
    Stopped,
}

/// What failed
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FailureDocument {
    /// In which phase
    pub phase: String,
    /// What failed and why
    pub message: String,
    /// What a person can do about it
    pub hints: Vec<String>,
    /// Whether something outside (engine, registry, git remote) was missing or refused
    pub outside: bool,
    /// The line of the manifest that the step comes from
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// A shell command that repeats the step by hand
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by_hand: Option<String>,
    /// The file with the whole log
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<String>,
    /// The last lines of the log
    pub tail: Vec<String>,
}

/// Returns the JSON Schema of [`Line`], as `schema/events.schema.json` holds it.
pub fn schema() -> Value {
    schema_of::<Line>()
}

/// Returns the JSON Schema of [`PlanDocument`], as `schema/plan.schema.json` holds it.
pub fn plan_schema() -> Value {
    schema_of::<PlanDocument>()
}

fn schema_of<T: JsonSchema>() -> Value {
    let generator = SchemaSettings::draft07().into_generator();
    generator.into_root_schema_for::<T>().to_value()
}
