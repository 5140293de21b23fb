//! Machine-readable formats: events as JSON lines, and plans.
//!
//! The lines go to standard output with `--format json`, and to `run.jsonl` next to the logs of a run, which `xp logs`,
//! `xp report` and `xp shell --failed` read. This module only defines the data types.

mod run;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::model::event::Event;
pub use crate::model::plan_document::{
    ChangeDocument, DecisionCounts, DecisionDocument, PLAN_VERSION, PhaseDecision, PhaseDocument,
    PlanDocument, StepDocument, TrainDocument, UnitDocument, UnitKind,
};
#[cfg(test)]
pub use run::WaitRecord;
pub use run::{RunRecord, SidecarRecord, StepRecord, UnitRecord};

/// The version of the format. Not incremented when events and fields are added.
pub const VERSION: u64 = 1;

/// One event of a run
///
/// Events and fields may be added without a new version; readers must ignore unknown ones.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(title = "xp build --format json")]
pub struct EventLine {
    /// The version of this format
    pub version: u64,
    /// The time of the event: RFC 3339, UTC
    pub time: String,
    /// Seconds since the command started, from a monotonic clock
    pub elapsed: f64,
    /// The event
    #[serde(flatten)]
    pub event: Event,
}

/// Returns the JSON Schema of [`EventLine`], the content of `schema/events.schema.json`.
pub fn schema() -> Value {
    schema_of::<EventLine>()
}

/// Returns the JSON Schema of [`PlanDocument`], the content of `schema/plan.schema.json`.
pub fn plan_schema() -> Value {
    schema_of::<PlanDocument>()
}

fn schema_of<T: JsonSchema>() -> Value {
    let generator = SchemaSettings::draft07().into_generator();
    generator.into_root_schema_for::<T>().to_value()
}
