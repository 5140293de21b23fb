//! Plans one service.

use super::build_dir::BuildDir;
use super::decide::{Decided, ServiceVerdict, plugin_unit};
use super::draft::PlanCandidate;
use super::scripts::script_units;
use super::{Decision, InPlace, Step, UnitPlan, sidecars};
use crate::model::event::Unit;
use crate::model::image::Tag;
use crate::model::layout::Layout;
use crate::model::manifest::{ManifestError, ServiceName};

impl Decided<'_> {
    /// Plans a service, after all needed units.
    pub(super) fn service_plan(
        &self,
        candidate: &PlanCandidate<'_>,
        layout: &Layout,
    ) -> Result<Option<UnitPlan>, ManifestError> {
        let service = candidate.service;
        let Some(verdict) = self.verdicts.get(&service.name) else {
            return Ok(None);
        };
        let image = candidate.image.clone();
        let mut needed: Vec<Unit> = Vec::new();
        let mut steps = Vec::new();
        let mut in_place = None;
        steps.extend(verdict.other_name.clone().map(|other| Step::EngineTag {
            image: other,
            names: vec![image.clone()],
        }));
        match verdict.decision {
            Decision::Build => {
                needed = self.build_needs(candidate, &mut steps);
                let build_dir =
                    BuildDir::of(candidate, &self.draft, &self.folders, layout, &mut steps);
                self.build_steps(candidate, &build_dir, layout, &mut steps)?;
                in_place = build_dir.in_place.then(|| InPlace {
                    dir: build_dir.files,
                    selection: service.source.selection(),
                    is_git: service.source.git().is_some(),
                    changes: candidate.source.changes().map(|changes| changes.digest),
                });
            }
            Decision::Pull => steps.extend(self.pull_steps(candidate, verdict)),
            Decision::Push => {
                needed.extend(self.draft.sbom_unit(candidate));
                // The push compares the needed images with those in the registry, so they go first.
                needed.extend(service.needs.iter().cloned().map(Unit::Service));
                steps.push(self.push(candidate));
            }
            Decision::Skip | Decision::Tag => {}
        }
        let supply = self.supply_steps(candidate, &steps);
        steps.extend(supply);
        let (of_commit, moving): (Vec<Tag>, Vec<Tag>) = verdict
            .registry_tags
            .iter()
            .cloned()
            .partition(|tag| tag.named_commit().is_some());
        let digest = self.digest(candidate);
        let by_digest = digest.map(|digest| image.repository().with_digest(digest));
        let tag = |tags: Vec<Tag>| {
            let image = by_digest.clone().unwrap_or_else(|| image.clone());
            (!tags.is_empty()).then_some(Step::RegistryTag { image, tags })
        };
        steps.extend(tag(of_commit));
        let unheld = steps.len();
        if !verdict.engine_names.is_empty() {
            steps.push(Step::EngineTag {
                image: image.clone(),
                names: verdict.engine_names.clone(),
            });
        }
        steps.extend(tag(moving));
        let held = if self.draft.options.all_or_nothing {
            steps.len() - unheld
        } else {
            0
        };
        let names = self.image_names(candidate, verdict, &steps);
        let mut unit_plan = UnitPlan {
            unit: Unit::Service(service.name.clone()),
            commit: Some(candidate.source.commit),
            source: Some(candidate.source.clone()),
            image,
            names,
            decision: verdict.decision,
            reason: verdict.reason.clone(),
            changes: verdict.changes.clone(),
            recipe: self.recipe(candidate, verdict.decision),
            after: needed,
            phases: self.phase_plans(candidate),
            steps,
            timeout: service.timeout,
            held,
            in_place,
            remote: None,
        };
        unit_plan.remote = self.remote_part(&unit_plan);
        Ok(Some(unit_plan))
    }

    /// Returns the units that a build needs; adds the steps with which a fleet's engine gets their images.
    fn build_needs(&self, candidate: &PlanCandidate<'_>, steps: &mut Vec<Step>) -> Vec<Unit> {
        let service = candidate.service;
        let mut needed: Vec<Unit> = plugin_unit(candidate).into_iter().collect();
        let test = self.draft.options.test;
        let sidecars = sidecars::units(service, &|phase| test || !phase.is_test());
        for unit in script_units(service, true).chain(sidecars) {
            if !needed.contains(&unit) {
                needed.push(unit);
            }
        }
        let phases = self.phase_plans(candidate);
        let is_restored = phases.iter().any(|phase| phase.restored.is_some());
        let used = is_restored.then(|| self.used_units(candidate));
        let is_used = |unit: &Unit| used.as_ref().is_none_or(|used| used.contains(unit));
        if self.is_on_fleet() {
            let pulled = needed.iter().filter(|unit| is_used(unit));
            steps.extend(pulled.filter_map(|unit| self.pulls.get(unit).cloned()));
            steps.extend(service.needs.iter().filter_map(|it| self.pull_of_need(it)));
        } else {
            needed.retain(is_used);
        }
        needed.extend(self.draft.sbom_unit(candidate));
        needed.extend(service.needs.iter().cloned().map(Unit::Service));
        needed
    }

    fn pull_steps(&self, candidate: &PlanCandidate<'_>, verdict: &ServiceVerdict) -> Vec<Step> {
        let awaited = self.awaited(candidate, verdict);
        let digest = self.digest(candidate).filter(|_| awaited.is_none());
        let mut steps: Vec<Step> = awaited.into_iter().collect();
        // A fleet's engines pull it where it is used.
        if !self.is_on_fleet() && self.inventory.runs(candidate.platforms()) {
            steps.push(Step::Pull {
                image: candidate.image.clone(),
                digest,
                if_missing: false,
            });
        }
        steps
    }

    /// Returns the step with which a fleet's engine gets the image of a needed service.
    fn pull_of_need(&self, service: &ServiceName) -> Option<Step> {
        let needed = self.draft.candidate(service)?;
        let digest = self.digest(needed).filter(|_| !self.is_built(service));
        Some(Step::Pull {
            image: needed.image.clone(),
            digest,
            if_missing: false,
        })
    }
}
