//! The last stage of a plan: turns decisions into steps.

use std::collections::{BTreeMap, HashSet};

use super::builder::{BuilderMode, external_plan};
use super::decide::Decided;
use super::{
    Decision, Plan, PlanError, Presence, RemotePart, Step, UnitPlan, UnknownImages, parallel,
};
use crate::model::event::Unit;
use crate::model::image::ImageReference;
use crate::model::layout::Layout;

impl Decided<'_> {
    /// Completes the plan, given what registries have of [`Decided::builder_images`].
    ///
    /// # Errors
    ///
    /// A query to a registry failed, or a build argument or a variable cannot be rendered.
    pub fn complete(
        mut self,
        builders: &BTreeMap<ImageReference, Presence>,
        layout: &Layout,
    ) -> Result<Plan, PlanError> {
        // Tracked builders are only pulled if their registries respond.
        let is_required = |image: &ImageReference| {
            self.draft.options.refresh_bases
                || self
                    .folders
                    .values()
                    .any(|folder| folder.image.repository() == image.repository())
        };
        UnknownImages::check(builders.iter().filter(|(image, _)| is_required(image)))?;
        let mut plan = Plan {
            train: self.draft.train(),
            ..Plan::default()
        };
        self.add_builders(&mut plan, builders);
        plan.units.reserve(self.draft.candidates.len());
        let mut working: HashSet<Unit> = plan.work().map(|it| it.unit.clone()).collect();
        let service_plans = parallel::map(&self.draft.candidates, |candidate| {
            self.service_plan(candidate, layout)
        });
        for service_plan in service_plans {
            let Some(mut unit_plan) = service_plan? else {
                continue;
            };
            // Units without steps are already in place: no need to wait for them.
            unit_plan.after.retain(|unit| working.contains(unit));
            if !unit_plan.steps.is_empty() {
                working.insert(unit_plan.unit.clone());
            }
            plan.units.push(unit_plan);
        }
        Ok(plan)
    }

    /// Adds the builder images that are needed in any case; remembers all of them, in case a result cannot be restored.
    fn add_builders(&mut self, plan: &mut Plan, registries: &BTreeMap<ImageReference, Presence>) {
        let mode = BuilderMode {
            force: false,
            push: self.draft.options.push,
            refresh_bases: self.draft.options.refresh_bases,
            is_on_fleet: self.is_on_fleet(),
        };
        let used = self.used_builders();
        for unit in self.builders() {
            let is_used = used.contains(&unit);
            let Some(mut unit_plan) = self.builder_plan(&unit, registries, mode) else {
                continue;
            };
            if !mode.is_on_fleet {
                if !unit_plan.steps.is_empty() {
                    self.fallback.insert(unit, unit_plan.clone());
                }
                if is_used {
                    plan.units.push(unit_plan);
                }
                continue;
            }
            unit_plan.remote = self.remote_part(&unit_plan);
            let pull = pull_of(&unit_plan, registries);
            let fallback = UnitPlan {
                steps: vec![pull.clone()],
                remote: None,
                ..unit_plan.clone()
            };
            self.fallback.insert(unit.clone(), fallback);
            self.pulls.insert(unit, pull);
            if is_used || unit_plan.remote.is_some() {
                plan.units.push(unit_plan);
            }
        }
    }

    fn builder_plan(
        &self,
        unit: &Unit,
        registries: &BTreeMap<ImageReference, Presence>,
        mode: BuilderMode,
    ) -> Option<UnitPlan> {
        if let Some(folder) = self.folders.get(unit) {
            return Some(folder.plan(unit.clone(), &self.inventory, registries, mode));
        }
        let Unit::External(image) = unit else {
            return None;
        };
        let registry = registries.get(&image.with_defaults());
        Some(external_plan(
            image,
            &self.inventory,
            registry,
            mode.is_on_fleet,
        ))
    }

    pub(super) fn is_on_fleet(&self) -> bool {
        self.draft.options.fleet.is_some()
    }

    /// Returns the part of a unit that runs on the fleet, if there is one: a build, up to its push.
    pub(super) fn remote_part(&self, plan: &UnitPlan) -> Option<RemotePart> {
        let fleet = self.draft.options.fleet.clone()?;
        let is_remote = |step: &Step| !matches!(step, Step::RegistryTag { .. });
        let steps = plan.first_steps();
        let last = steps.iter().rposition(is_remote)?;
        (plan.decision == Decision::Build).then_some(RemotePart {
            fleet,
            steps: last + 1,
        })
    }
}

/// Returns the step with which a fleet's engine gets a builder image.
fn pull_of(plan: &UnitPlan, registries: &BTreeMap<ImageReference, Presence>) -> Step {
    let image = plan.image.clone();
    let name = match plan.unit {
        Unit::External(_) => image.with_defaults(),
        _ => image.clone(),
    };
    let digest = match registries.get(&name) {
        Some(Presence::Present(digest)) if plan.remote.is_none() => Some(digest.clone()),
        _ => None,
    };
    Step::Pull {
        // As on this machine, a moving tag is only followed if that was requested.
        if_missing: digest.is_none() && matches!(plan.unit, Unit::External(_)),
        image,
        digest,
    }
}
