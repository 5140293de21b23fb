//! The plan as a JSON document.

use std::path::Path;

use super::{Decision, PhasePlan, Plan, UnitPlan};
use crate::model::event::Unit;
use crate::model::recipe::Recipe;
use crate::model::record::{
    ChangeDocument, DecisionCounts, DecisionDocument, PLAN_VERSION, PhaseDecision, PhaseDocument,
    PlanDocument, StepDocument, TrainDocument, UnitDocument, UnitKind,
};

impl Plan {
    /// Returns the plan as a document, with paths relative to the manifest's folder.
    pub fn document(&self, folder: &Path) -> PlanDocument {
        let mut counts = DecisionCounts::default();
        for unit in &self.units {
            *match unit.decision {
                Decision::Skip => &mut counts.skip,
                Decision::Tag => &mut counts.tag,
                Decision::Pull => &mut counts.pull,
                Decision::Push => &mut counts.push,
                Decision::Build => &mut counts.build,
            } += 1;
        }
        PlanDocument {
            version: PLAN_VERSION,
            counts,
            train: self.train.as_ref().map(|train| TrainDocument {
                branch: train.branch.to_string(),
                services_on_branch: train.services_on_branch,
                services: train.services,
            }),
            units: self
                .units
                .iter()
                .map(|unit| document(unit, folder))
                .collect(),
        }
    }
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
            Unit::Service(_) => UnitKind::Service,
            Unit::Builder(_) => UnitKind::Builder,
            Unit::External(_) => UnitKind::ExternalBuilder,
            // Never in a plan: only deploys have workloads.
            Unit::Workload(_) => UnitKind::Service,
        },
        commit: unit.commit.map(|commit| commit.to_string()),
        reference: source.and_then(|source| source.short_name().map(str::to_owned)),
        origin: source.map(|source| source.origin.as_str().to_owned()),
        image: unit.image.to_string(),
        digest: unit.names.digest.as_ref().map(ToString::to_string),
        is_in_place: source.is_some_and(|source| source.local.is_some()),
        tags: unit.names.tags.iter().map(ToString::to_string).collect(),
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
                change: change.verb().to_owned(),
            })
            .collect(),
        recipe: unit.recipe.as_ref().map(recipe),
        after: unit.after.iter().map(ToString::to_string).collect(),
        phases: unit.phases.iter().map(phase_document).collect(),
        fleet: unit.remote.as_ref().map(|remote| remote.fleet.clone()),
        steps: unit
            .steps
            .iter()
            .enumerate()
            .map(|(position, step)| StepDocument {
                phase: step.phase().to_string(),
                text: step.describe(folder),
                after: unit
                    .waits(position)
                    .iter()
                    .map(|wait| wait.unit.to_string())
                    .collect(),
            })
            .collect(),
    }
}

fn phase_document(phase: &PhasePlan) -> PhaseDocument {
    let restored = phase.restored.as_ref();
    PhaseDocument {
        phase: phase.phase.to_string(),
        decision: match restored {
            Some(_) => PhaseDecision::Restore,
            None => PhaseDecision::Run,
        },
        reason: phase.reason.clone(),
        key: phase.key.map(|key| key.to_string()),
        commit: restored.map(|from| from.commit.clone()),
        is_from_registry: restored.is_some_and(|from| from.is_from_registry),
        saves_seconds: restored.map(|from| from.seconds),
        changes: phase.changes.clone(),
    }
}
