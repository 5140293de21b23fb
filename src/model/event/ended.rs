//! The result of the work on a unit.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ImageResult, Phase, Unit, sidecar_log};
use crate::base::seconds;
use crate::model::image::Platform;

/// The outcome of a unit
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "OutcomeDocument")]
pub enum Outcome {
    /// Every step succeeded
    Done,
    /// A step failed
    Failed,
    /// Not started or stopped, because a unit that it needs failed
    Blocked,
    /// Stopped or not started, because the run was interrupted or another unit failed
    Stopped,
}

/// The result of the work on a unit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct UnitSummary {
    /// The outcome
    pub outcome: Outcome,
    /// The duration in seconds, without waits for other units and for a free job slot
    #[serde(rename = "seconds", with = "seconds")]
    #[schemars(with = "f64")]
    pub elapsed: Duration,
    /// Whether nothing was done, except to fetch its source
    #[serde(skip)]
    pub only_fetched: bool,
    /// The image of a service or a builder that is done
    #[serde(flatten)]
    pub image: Option<Box<ImageResult>>,
    /// The failed unit that it needs
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Unit>")]
    pub blocked_by: Option<Box<Unit>>,
    /// The phases that were not run, because their results were restored
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub restored: Vec<RestoredPhase>,
    /// What failed
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Box<FailedStep>>,
}

/// A phase that was not run, because it ran before with the same inputs
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RestoredPhase {
    /// The phase
    pub phase: Phase,
    /// The commit that it ran on
    pub commit: String,
    /// Whether the result came from the registry
    #[serde(rename = "registry")]
    pub is_from_registry: bool,
    /// How long the phase ran then, in seconds
    #[serde(rename = "saved_seconds", with = "seconds")]
    #[schemars(with = "f64")]
    pub saved: Duration,
}

impl UnitSummary {
    /// Returns a result without details.
    pub fn new(outcome: Outcome) -> Self {
        Self {
            outcome,
            elapsed: Duration::ZERO,
            only_fetched: false,
            image: None,
            blocked_by: None,
            restored: Vec::new(),
            failure: None,
        }
    }

    /// Returns whether the run ended before the work on it started.
    pub fn is_not_started(&self) -> bool {
        matches!(self.outcome, Outcome::Blocked | Outcome::Stopped)
            && (self.only_fetched || self.elapsed.is_zero())
    }

    /// Returns the result of a unit with a failed step.
    pub fn failed(failure: FailedStep) -> Self {
        Self {
            failure: Some(Box::new(failure)),
            ..Self::new(Outcome::Failed)
        }
    }

    /// Returns the result of a unit that needs a failed one.
    pub fn blocked(needed: Unit) -> Self {
        Self {
            blocked_by: Some(Box::new(needed)),
            ..Self::new(Outcome::Blocked)
        }
    }
}

/// What failed
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "FailureDocument")]
pub struct FailedStep {
    /// The phase
    pub phase: Phase,
    /// The error message
    pub message: String,
    /// How to fix it
    pub hints: Vec<String>,
    /// Whether something external (engine, registry, git remote) was missing or refused the request
    pub outside: bool,
    /// The line of the step in the manifest
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// The image of a plugin, or of a script that does not run in the service's builder
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The platform for which a script ran, if it is not the own one of the usual engine
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// The instruction of a Dockerfile at which an image build failed
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dockerfile: Option<Box<DockerfileLine>>,
    /// The sidecar that failed; the log is that of its container
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sidecar: Option<String>,
    /// A shell command to repeat the step manually
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[serde(rename = "by_hand")]
    pub reproduce_command: Option<String>,
    /// The log file
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<String>,
    /// The last lines of the log
    pub tail: Vec<String>,
}

/// An instruction of a Dockerfile
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DockerfileLine {
    /// The Dockerfile: relative to the top of the repository or, without one, to the manifest's folder
    pub file: String,
    /// The line
    pub line: usize,
    /// The URL of the service's repository; omitted for a builder
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
}

impl FailedStep {
    /// Returns the name of the log that shows why it failed.
    pub fn log_name(&self) -> String {
        let of_phase = || self.phase.to_string();
        let sidecar = self.sidecar.as_deref();
        sidecar.map_or_else(of_phase, sidecar_log)
    }

    /// Returns a failure without details. The reporter adds the log.
    pub fn new(phase: Phase, message: String) -> Self {
        Self {
            phase,
            message,
            hints: Vec::new(),
            outside: false,
            line: None,
            image: None,
            platform: None,
            dockerfile: None,
            sidecar: None,
            reproduce_command: None,
            log: None,
            tail: Vec::new(),
        }
    }
}
