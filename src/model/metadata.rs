//! The images of a run by service: the file of `xp build --metadata-file`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::model::event::{ImageResult, Outcome, Unit, UnitSummary};
use crate::model::plan::{Decision, Plan, UnitPlan};

/// The services of a run, by name
///
/// Fields may be added; readers must ignore unknown ones.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(title = "xp build --metadata-file")]
pub struct RunMetadata(BTreeMap<String, ServiceMetadata>);

/// A service
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ServiceMetadata {
    /// What was done
    pub status: ServiceStatus,
    /// The commit; with `--local`, the working copy may have had changes
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// The short name of the branch or tag that it is built from
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// How long the build took, without waiting for others; omitted if the service was not built
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// The image; omitted if the service failed or was not built
    #[serde(flatten)]
    pub image: Option<ImageResult>,
}

/// What was done with the image of a service
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ServiceStatus {
    /// It was built
    Built,
    /// It was in the engine, and was pushed
    Pushed,
    /// It was in the registry, and was pulled
    Pulled,
    /// It was up to date, and got tags
    Tagged,
    /// It was up to date
    Skipped,
    /// A step failed
    Failed,
    /// Not started or stopped, because a service or builder that it needs failed
    Blocked,
    /// Stopped or not started, because the run was interrupted or another service failed
    Stopped,
}

impl RunMetadata {
    /// Returns the services of a plan, given the results of the units that had work.
    pub fn of(plan: &Plan, ended: &[(Unit, UnitSummary)]) -> Self {
        let ended: BTreeMap<&Unit, &UnitSummary> =
            ended.iter().map(|(unit, ended)| (unit, ended)).collect();
        let services = plan.units.iter().filter_map(|unit| match &unit.unit {
            Unit::Service(name) => {
                let ended = ended.get(&unit.unit).copied();
                Some((name.to_string(), ServiceMetadata::of(unit, ended)))
            }
            _ => None,
        });
        Self(services.collect())
    }
}

impl ServiceMetadata {
    fn of(plan: &UnitPlan, ended: Option<&UnitSummary>) -> Self {
        let is_up_to_date = ended.is_none() && plan.steps.is_empty();
        let status = match ended.map(|ended| ended.outcome) {
            Some(Outcome::Failed) => ServiceStatus::Failed,
            Some(Outcome::Blocked) => ServiceStatus::Blocked,
            Some(Outcome::Stopped) => ServiceStatus::Stopped,
            None if !is_up_to_date => ServiceStatus::Stopped,
            None | Some(Outcome::Done) => match plan.decision {
                Decision::Build => ServiceStatus::Built,
                Decision::Push => ServiceStatus::Pushed,
                Decision::Pull => ServiceStatus::Pulled,
                Decision::Tag => ServiceStatus::Tagged,
                Decision::Skip => ServiceStatus::Skipped,
            },
        };
        let built = ended.filter(|_| status == ServiceStatus::Built);
        let existing = is_up_to_date.then(|| plan.image_result(None, true));
        let source = plan.source.as_ref();
        Self {
            status,
            commit: plan.commit.map(|commit| commit.to_string()),
            reference: source.and_then(|source| source.short_name().map(str::to_owned)),
            seconds: built.map(|it| (it.elapsed.as_secs_f64() * 10.0).round() / 10.0),
            image: ended
                .and_then(|ended| ended.image.as_deref().cloned())
                .or(existing),
        }
    }
}

/// Returns the JSON Schema of [`RunMetadata`], the content of `schema/metadata.schema.json`.
pub fn schema() -> Value {
    let generator = SchemaSettings::draft07().into_generator();
    generator.into_root_schema_for::<RunMetadata>().to_value()
}
