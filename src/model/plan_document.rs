//! The plan as JSON.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The version of the format. Not incremented when fields are added.
pub const PLAN_VERSION: u64 = 1;

/// The plan of `xp build`
///
/// Fields may be added without a new version; readers must ignore unknown ones.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(title = "xp plan --format json")]
pub struct PlanDocument {
    /// The version of this format
    pub version: u64,
    /// The number of units by decision
    pub counts: DecisionCounts,
    /// The topic train, with `--branch`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub train: Option<TrainDocument>,
    /// The builder images, then the services in dependency order
    pub units: Vec<UnitDocument>,
}

/// The number of units by decision
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DecisionCounts {
    /// Nothing to do: the image exists
    pub skip: u64,
    /// The image gets a tag
    pub tag: u64,
    /// The image is pulled
    pub pull: u64,
    /// The image is pushed
    pub push: u64,
    /// The image is built
    pub build: u64,
}

/// A branch that some of the services have
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TrainDocument {
    /// The branch
    pub branch: String,
    /// The number of services that are built from it
    #[serde(rename = "on_it")]
    pub services_on_branch: usize,
    /// The number of services, including the needed ones
    pub services: usize,
}

/// A service or a builder image
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct UnitDocument {
    /// The service's name, `builders/` and the builder's name, or the image of an external builder
    pub name: String,
    /// The kind of unit
    pub kind: UnitKind,
    /// The commit of a service
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// The short name of the branch or tag that a service is built from
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// Where the reference comes from
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// The image, tagged with its commit or content
    pub image: String,
    /// The digest of the existing image in its registry; omitted if it will be built or pushed, is only in the engine,
    /// or is unknown
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// The tags that the image has or will get; usually, the first one is that of `image`
    #[serde(default)]
    pub tags: Vec<String>,
    /// Whether the working copy is built, instead of the commit
    #[serde(rename = "local", default, skip_serializing_if = "std::ops::Not::not")]
    pub is_in_place: bool,
    /// The decision
    pub decision: DecisionDocument,
    /// The reason, human-readable
    pub reason: String,
    /// The build inputs that differ from those of the existing image
    pub changes: Vec<ChangeDocument>,
    /// The recipe: a digest of each build input, by manifest key
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipe: Option<BTreeMap<String, String>>,
    /// The names of the units that it uses
    pub after: Vec<String>,
    /// The phases with `inputs`, if the service will be built
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub phases: Vec<PhaseDocument>,
    /// The fleet on which a Job runs the steps up to the push; omitted if they run here
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fleet: Option<String>,
    /// The steps, in order
    pub steps: Vec<StepDocument>,
}

/// The kind of a unit
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum UnitKind {
    /// A service of the manifest
    Service,
    /// A builder image that is built from a folder
    Builder,
    /// A builder image that is pulled
    ExternalBuilder,
}

/// The decision for an image
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DecisionDocument {
    /// Nothing to do
    Skip,
    /// The image gets a tag
    Tag,
    /// The image is pulled from the registry into the engine
    Pull,
    /// The image is pushed from the engine to the registry
    Push,
    /// The image is built
    Build,
}

/// A changed build input
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ChangeDocument {
    /// The manifest key
    pub input: String,
    /// The kind of change
    pub change: String,
}

/// A phase with `inputs`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PhaseDocument {
    /// The phase
    pub phase: String,
    /// Whether it runs
    pub decision: PhaseDecision,
    /// The reason, human-readable
    pub reason: String,
    /// The key: a digest of everything that the result depends on; omitted if it is unknown
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The commit that it ran on, if its result is restored
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// Whether the result comes from the registry
    #[serde(
        rename = "registry",
        default,
        skip_serializing_if = "std::ops::Not::not"
    )]
    pub is_from_registry: bool,
    /// How long it ran, in seconds, if its result is restored
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub saves_seconds: Option<f64>,
    /// The files and values that differ from those of the last result on this machine
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<String>,
}

/// Whether a phase runs
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PhaseDecision {
    /// It runs
    Run,
    /// Its result is restored, or it passed before
    Restore,
}

/// A step
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StepDocument {
    /// The phase, as in the names of log files
    pub phase: String,
    /// A description, without values of variables and build arguments
    pub text: String,
    /// The names of the units that the step waits for
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<String>,
}
