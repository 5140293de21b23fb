//! A plan as JSON, for other programs.

use std::collections::BTreeMap;
use std::path::Path;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::Serialize;
use serde_json::{Value, json};

use super::{Decision, Plan, UnitPlan};
use crate::event::Unit;
use crate::recipe::Recipe;

/// The version of the format. It grows by further fields without a new one.
const VERSION: u64 = 1;

/// What `xp build` would do
///
/// Fields may be added in the same version; a reader passes over those that it does not know.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(title = "xp plan --format json")]
struct Document {
    /// The version of this format
    version: u64,
    /// How many units each decision is made for
    counts: Counts,
    /// The topic train, with `--branch`
    #[serde(skip_serializing_if = "Option::is_none")]
    train: Option<TrainDocument>,
    /// The builder images first, then the services, each after those that it needs
    units: Vec<UnitDocument>,
}

/// How many units each decision is made for
#[derive(Debug, Default, Serialize, JsonSchema)]
struct Counts {
    skip: u64,
    tag: u64,
    pull: u64,
    push: u64,
    build: u64,
}

/// A branch that some of the services have
#[derive(Debug, Serialize, JsonSchema)]
struct TrainDocument {
    /// The branch
    branch: String,
    /// How many services are built from it
    on_it: usize,
    /// How many services there are, the needed ones included
    services: usize,
}

/// A service, or an image that a service's scripts run in
#[derive(Debug, Serialize, JsonSchema)]
struct UnitDocument {
    /// The service's name, `builders/` and the builder's, or the builder's image
    name: String,
    /// What it is
    kind: Kind,
    /// The commit that is built, of a service
    #[serde(skip_serializing_if = "Option::is_none")]
    commit: Option<String>,
    /// The short name of the branch or tag that a service is built from
    #[serde(skip_serializing_if = "Option::is_none")]
    reference: Option<String>,
    /// Who named the reference
    #[serde(skip_serializing_if = "Option::is_none")]
    origin: Option<&'static str>,
    /// The image by its commit, or by its content
    image: String,
    /// What is done with it
    decision: DecisionDocument,
    /// Why, for people
    reason: String,
    /// The inputs of the build that are not those of the image that exists
    changes: Vec<ChangeDocument>,
    /// What the image is built from: a digest for each input, by the manifest's key
    #[serde(skip_serializing_if = "Option::is_none")]
    recipe: Option<BTreeMap<String, String>>,
    /// The names of the units that must be done first
    after: Vec<String>,
    /// What is done, in order
    steps: Vec<StepDocument>,
}

/// What a unit is
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    /// A service of the manifest
    Service,
    /// A builder image made from a folder
    Builder,
    /// A builder image made by somebody else
    ExternalBuilder,
}

/// What is done with an image
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum DecisionDocument {
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
#[derive(Debug, Serialize, JsonSchema)]
struct ChangeDocument {
    /// The manifest's key
    input: String,
    /// What happened to it
    change: &'static str,
}

/// A step
#[derive(Debug, Serialize, JsonSchema)]
struct StepDocument {
    /// Its phase, as in the names of log files
    phase: String,
    /// What is done, in words; without values of variables and build arguments
    text: String,
}

impl Plan {
    /// Returns the plan for other programs, with paths relative to the manifest's folder.
    pub fn document(&self, folder: &Path) -> Value {
        let mut counts = Counts::default();
        for unit in &self.units {
            *match unit.decision {
                Decision::Skip => &mut counts.skip,
                Decision::Tag => &mut counts.tag,
                Decision::Pull => &mut counts.pull,
                Decision::Push => &mut counts.push,
                Decision::Build => &mut counts.build,
            } += 1;
        }
        json!(Document {
            version: VERSION,
            counts,
            train: self.train.as_ref().map(|train| TrainDocument {
                branch: train.branch.to_string(),
                on_it: train.on_it,
                services: train.services,
            }),
            units: self
                .units
                .iter()
                .map(|unit| document(unit, folder))
                .collect(),
        })
    }
}

/// Returns the JSON Schema of [`Plan::document`], as `schema/plan.schema.json` holds it.
pub fn schema() -> Value {
    let generator = SchemaSettings::draft07().into_generator();
    generator.into_root_schema_for::<Document>().to_value()
}

fn document(unit: &UnitPlan, folder: &Path) -> UnitDocument {
    let recipe = |recipe: &Recipe| {
        let inputs = recipe.inputs();
        inputs
            .map(|(name, digest)| (name.to_owned(), digest.to_string()))
            .collect()
    };
    let source = unit.source.as_ref();
    UnitDocument {
        name: unit.unit.to_string(),
        kind: match unit.unit {
            Unit::Service(_) => Kind::Service,
            Unit::Builder(_) => Kind::Builder,
            Unit::External(_) => Kind::ExternalBuilder,
        },
        commit: unit.commit.map(|commit| commit.to_string()),
        reference: source.and_then(|source| source.short_name().map(str::to_owned)),
        origin: source.map(|source| source.origin.as_str()),
        image: unit.image.to_string(),
        decision: match unit.decision {
            Decision::Skip => DecisionDocument::Skip,
            Decision::Tag => DecisionDocument::Tag,
            Decision::Pull => DecisionDocument::Pull,
            Decision::Push => DecisionDocument::Push,
            Decision::Build => DecisionDocument::Build,
        },
        reason: unit.reason.clone(),
        changes: unit
            .changes
            .iter()
            .map(|change| ChangeDocument {
                input: change.name().to_owned(),
                change: change.verb(),
            })
            .collect(),
        recipe: unit.recipe.as_ref().map(recipe),
        after: unit.after.iter().map(ToString::to_string).collect(),
        steps: unit
            .steps
            .iter()
            .map(|step| StepDocument {
                phase: step.phase().to_string(),
                text: step.in_words(folder),
            })
            .collect(),
    }
}
