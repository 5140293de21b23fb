//! A plan as JSON, for other programs.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The version of the format. It grows by further fields without a new one.
pub const PLAN_VERSION: u64 = 1;

/// What `xp build` would do
///
/// Fields may be added in the same version; a reader passes over those that it does not know.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(title = "xp plan --format json")]
pub struct PlanDocument {
    /// The version of this format
    pub version: u64,
    /// How many units each decision is made for
    pub counts: Counts,
    /// The topic train, with `--branch`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub train: Option<TrainDocument>,
    /// The builder images first, then the services, each after those that it needs
    pub units: Vec<UnitDocument>,
}

/// How many units each decision is made for
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Counts {
    /// The image is there
    pub skip: u64,
    /// It gets a tag
    pub tag: u64,
    /// It is pulled
    pub pull: u64,
    /// It is pushed
    pub push: u64,
    /// It is built
    pub build: u64,
}

/// A branch that some of the services have
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TrainDocument {
    /// The branch
    pub branch: String,
    /// How many services are built from it
    pub on_it: usize,
    /// How many services there are, the needed ones included
    pub services: usize,
}

/// A service, or an image that a service's scripts run in
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct UnitDocument {
    /// The service's name, `builders/` and the builder's, or the builder's image
    pub name: String,
    /// What it is
    pub kind: Kind,
    /// The commit that is built, of a service
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// The short name of the branch or tag that a service is built from
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// Who named the reference
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// The image by its commit, or by its content
    pub image: String,
    /// What is done with it
    pub decision: DecisionDocument,
    /// Why, for people
    pub reason: String,
    /// The inputs of the build that are not those of the image that exists
    pub changes: Vec<ChangeDocument>,
    /// What the image is built from: a digest for each input, by the manifest's key
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipe: Option<BTreeMap<String, String>>,
    /// The names of the units that must be done first
    pub after: Vec<String>,
    /// What is done, in order
    pub steps: Vec<StepDocument>,
}

/// What a unit is
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A service of the manifest
    Service,
    /// A builder image made from a folder
    Builder,
    /// A builder image made by somebody else
    ExternalBuilder,
}

/// What is done with an image
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DecisionDocument {
    /// Nothing
    Skip,
    /// It gets a tag
    Tag,
    /// The registry has it, the engine gets it
    Pull,
    /// The engine has it, the registry gets it
    Push,
    /// It is built
    Build,
}

/// An input that is not what it was
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ChangeDocument {
    /// The manifest's key
    pub input: String,
    /// What happened to it
    pub change: String,
}

/// A step
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StepDocument {
    /// Its phase, as in the names of log files
    pub phase: String,
    /// What is done, in words; without values of variables and build arguments
    pub text: String,
}
