//! The last stage of a plan: turns decisions into steps.

use std::collections::{BTreeMap, HashSet};

use super::build_dir::BuildDir;
use super::builder::{BuilderMode, external_plan};
use super::decide::{Decided, ServiceVerdict, plugin_unit};
use super::draft::PlanCandidate;
use super::scripts::{ScriptsAt, script_units};
use super::{
    AwaitStep, ConcurrentPush, Decision, Equivalence, ImageStep, InPlace, IndexStep, NeededImage,
    Plan, PlanError, Presence, PushStep, RemotePart, Step, UnitPlan, UnknownImages, parallel,
    sidecars,
};
use crate::model::event::Unit;
use crate::model::image::{Digest, ImageReference, Tag};
use crate::model::layout::Layout;
use crate::model::manifest::{ManifestError, SecretSource, ServiceName};
use crate::model::recipe;
use crate::model::recipe::Recipe;
use crate::model::source::{PathSelection, ServiceSource};

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
        let mode = BuilderMode {
            force: false,
            push: self.draft.options.push,
            refresh_bases: self.draft.options.refresh_bases,
            is_on_fleet: self.is_on_fleet(),
        };
        let used = self.used_builders();
        for unit in self.builders() {
            let planned = |mode: BuilderMode| match (&unit, self.folders.get(&unit)) {
                (_, Some(folder)) => {
                    Some(folder.plan(unit.clone(), &self.inventory, builders, mode))
                }
                (Unit::External(image), None) => {
                    let registry = builders.get(&image.with_defaults());
                    let is_on_fleet = mode.is_on_fleet;
                    Some(external_plan(image, &self.inventory, registry, is_on_fleet))
                }
                (_, None) => None,
            };
            let Some(mut unit_plan) = planned(mode) else {
                continue;
            };
            if mode.is_on_fleet {
                unit_plan.remote = self.remote_part(&unit_plan);
                let pull = pull_of(&unit_plan, builders);
                if !used.contains(&unit) {
                    let steps = vec![pull.clone()];
                    let fallback = UnitPlan {
                        steps,
                        remote: None,
                        ..unit_plan.clone()
                    };
                    self.fallback.insert(unit.clone(), fallback);
                }
                self.pulls.insert(unit.clone(), pull);
                if used.contains(&unit) || unit_plan.remote.is_some() {
                    plan.units.push(unit_plan);
                }
            } else if used.contains(&unit) {
                plan.units.push(unit_plan);
            } else if !unit_plan.steps.is_empty() {
                self.fallback.insert(unit, unit_plan);
            }
        }
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

    /// Plans a service, after all needed units.
    fn service_plan(
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
                needed.extend(plugin_unit(candidate));
                let test = self.draft.options.test;
                let sidecars = sidecars::units(service, &|phase| test || !phase.is_test());
                for unit in script_units(service, true).chain(sidecars) {
                    if !needed.contains(&unit) {
                        needed.push(unit);
                    }
                }
                let restored = self.phase_plans(candidate);
                let is_restored = restored.iter().any(|phase| phase.restored.is_some());
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
            Decision::Pull => {
                let awaited = self.awaited(candidate, verdict);
                let digest = self.digest(candidate).filter(|_| awaited.is_none());
                steps.extend(awaited);
                // A fleet's engines pull it where it is used.
                if !self.is_on_fleet() && self.inventory.runs(candidate.platforms()) {
                    let image = image.clone();
                    let if_missing = false;
                    steps.push(Step::Pull {
                        image,
                        digest,
                        if_missing,
                    });
                }
            }
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

    fn is_on_fleet(&self) -> bool {
        self.draft.options.fleet.is_some()
    }

    /// Returns the part of a unit that runs on the fleet, if there is one: a build, up to its push.
    fn remote_part(&self, plan: &UnitPlan) -> Option<RemotePart> {
        let fleet = self.draft.options.fleet.clone()?;
        let is_remote = |step: &Step| !matches!(step, Step::RegistryTag { .. });
        let steps = plan.first_steps();
        let last = steps.iter().rposition(is_remote)?;
        (plan.decision == Decision::Build).then_some(RemotePart {
            fleet,
            steps: last + 1,
        })
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

    fn build_steps(
        &self,
        candidate: &PlanCandidate<'_>,
        build_dir: &BuildDir,
        layout: &Layout,
        steps: &mut Vec<Step>,
    ) -> Result<(), ManifestError> {
        let draft = &self.draft;
        let (service, source) = (candidate.service, candidate.source);
        let mut scripts =
            self.script_steps(candidate, build_dir, layout, ScriptsAt::BeforeImage)?;
        let verification =
            self.script_steps(candidate, build_dir, layout, ScriptsAt::AfterImage)?;
        if !verification.is_empty() {
            for container in scripts.iter_mut().filter_map(Step::container_mut) {
                // The verification may still write them.
                container.expects_reports = false;
            }
        }
        let mut args = BTreeMap::new();
        let mut args_for_shell = BTreeMap::new();
        for (name, template) in &service.docker.args {
            args.insert(name.clone(), draft.render(template, service, source)?);
            let shell_value = draft.render_for_shell(template, service, source)?;
            args_for_shell.extend(shell_value.map(|value| (name.clone(), value)));
        }
        for source_of_secret in service.docker.secrets.values() {
            // Report a missing variable before anything runs; the value itself is not part of the plan.
            if let SecretSource::Environment { value, .. } = source_of_secret {
                draft.render(value, service, source)?;
            }
        }
        let root = &build_dir.files;
        let folder = match service.source.path() {
            Some(path) => root.join(path),
            None => root.clone(),
        };
        let docker = &service.docker;
        // Unlike an export, a working copy has other files, too.
        let mut selected = PathSelection::default();
        if build_dir.in_place {
            selected = service.source.selection();
            if !docker.context.is_from_top() {
                selected.paths.clear();
            }
        }
        let recipe = self.recipe(candidate, Decision::Build);
        let recipe = recipe.map(|recipe| {
            if draft.options.test {
                recipe
            } else {
                // Runs with tests must not mistake it for an image that passed them.
                recipe.without_tests()
            }
        });
        let mut labels = BTreeMap::from([
            (recipe::LABEL_REVISION.to_owned(), source.commit.to_string()),
            (recipe::LABEL_SOURCE.to_owned(), service.source.url()),
            (recipe::LABEL_VERSION.to_owned(), version(source)),
            (recipe::LABEL_SERVICE.to_owned(), service.name.to_string()),
        ]);
        labels.extend(recipe.map(|recipe| (recipe::LABEL_RECIPE.to_owned(), recipe.to_string())));
        labels.extend(self.steps_label(candidate));
        if candidate.is_local {
            let folder = layout.root().display().to_string();
            labels.insert(recipe::LABEL_LOCAL.to_owned(), folder);
        }
        let names: Vec<ImageReference> = std::iter::once(candidate.image.clone())
            .chain(self.names(candidate))
            .collect();
        let index = self.index(candidate);
        self.check_platforms(candidate, index.as_ref(), !verification.is_empty())?;
        let image_step = ImageStep {
            root: root.clone(),
            context: docker.context.below(root, &folder),
            selected,
            excluded: build_dir.excluded.clone(),
            dockerfile: docker.file.below(root, &folder),
            folder,
            target: docker.target.clone(),
            args,
            args_for_shell,
            secrets: docker.secrets.clone(),
            ssh: docker.ssh,
            platform: None,
            engine: None,
            labels,
            commit_time: build_dir.commit_time,
            fresh: draft.options.no_cache && candidate.selected,
            layers: layers(candidate),
            bases: draft.base_use(candidate),
            builders: script_units(service, true)
                .filter_map(|unit| match unit {
                    Unit::External(image) => Some(image),
                    _ => None,
                })
                .collect(),
            names: names.clone(),
            is_verified: !verification.is_empty(),
            needs: self.needed_images(candidate),
        };
        let names = match &index {
            Some(index) => self.platform_steps(candidate, &image_step, index, &scripts, steps),
            None => {
                steps.extend(scripts);
                steps.push(Step::Image(Box::new(image_step)));
                names
            }
        };
        if !verification.is_empty() && !names.is_empty() {
            steps.extend(verification);
            steps.push(Step::NameImage { names });
        }
        let has_registry = candidate.image.repository().registry().is_some();
        if has_registry && draft.options.push && !candidate.is_local {
            steps.push(self.push(candidate));
        }
        Ok(())
    }

    /// Adds the steps that build the images of an index, after those that prepare the source. Returns the names of the one
    /// that is verified.
    fn platform_steps(
        &self,
        candidate: &PlanCandidate<'_>,
        step: &ImageStep,
        index: &IndexStep,
        scripts: &[Step],
        steps: &mut Vec<Step>,
    ) -> Vec<ImageReference> {
        let mut verified = Vec::new();
        let mut built: Vec<_> = index.built().collect();
        let is_repeated = candidate.service.has_scripts_per_platform();
        let checkout = steps.last().filter(|_| is_repeated).cloned();
        if is_repeated {
            // The verification sees the files of the engine's own platform.
            built.sort_by_key(|(platform, _)| self.is_engines_own(platform));
        } else {
            steps.extend(scripts.iter().cloned());
        }
        for (position, (platform, image)) in built.into_iter().enumerate() {
            if is_repeated {
                // Without the files of the scripts before.
                steps.extend(checkout.clone().filter(|_| position > 0));
                steps.extend(self.steps_for_platform(candidate, scripts, platform));
            }
            let label = (recipe::LABEL_PLATFORM.to_owned(), platform.to_string());
            // Only an image of the engine's own platform can run beside the scripts.
            let is_own = self.inventory.engine_platform.as_ref() == Some(platform);
            let is_verified = step.is_verified && is_own;
            if is_verified {
                verified.push(image.clone());
            }
            steps.push(Step::Image(Box::new(ImageStep {
                platform: Some(platform.clone()),
                engine: self.draft.manifest.engines.get(platform).cloned(),
                labels: step.labels.clone().into_iter().chain([label]).collect(),
                names: vec![image.clone()],
                is_verified,
                ..step.clone()
            })));
        }
        verified
    }

    /// Returns the recipe of a service's image.
    fn recipe(&self, candidate: &PlanCandidate<'_>, decision: Decision) -> Option<Recipe> {
        let recipe = self.recipes.get(&candidate.service.name)?.clone();
        Some(match decision {
            Decision::Build if candidate.is_local => recipe.of_working_copy(),
            _ => recipe,
        })
    }

    /// Returns the additional names that an image gets immediately.
    fn names<'c>(
        &self,
        candidate: &'c PlanCandidate<'_>,
    ) -> impl Iterator<Item = ImageReference> + use<'c> {
        let immediately = !self.draft.options.all_or_nothing && !self.is_on_fleet();
        candidate.names().filter(move |_| immediately)
    }

    fn push(&self, candidate: &PlanCandidate<'_>) -> Step {
        let comparison = self.comparisons.get(&candidate.service.name);
        let recipe = self.published_recipe(candidate);
        Step::Push(Box::new(PushStep {
            image: candidate.image.clone(),
            replaces: comparison.and_then(|it| it.by_commit.clone()),
            identity: recipe.map(|recipe| candidate.identity(&recipe)),
            inconsistent: comparison.and_then(|it| it.inconsistent.clone()),
            force: self.draft.options.force && candidate.selected,
            rejected: self.inventory.rejected_of(candidate.image.repository()),
            index: self.index(candidate),
            concurrent: ConcurrentPush {
                names: self.names(candidate).collect(),
                wanted: self.wanted(candidate),
            },
            needs: self.needed_images(candidate),
        }))
    }

    /// Returns the step that waits for an image that another run builds.
    fn awaited(&self, candidate: &PlanCandidate<'_>, verdict: &ServiceVerdict) -> Option<Step> {
        let owner = verdict.awaited_from.clone()?;
        let limit = self.draft.options.part.as_ref()?.wait_limit;
        let recipe = self.published_recipe(candidate);
        let comparison = self.comparisons.get(&candidate.service.name);
        Some(Step::Await(Box::new(AwaitStep {
            image: recipe.map_or_else(
                || candidate.image.clone(),
                |recipe| candidate.identity(&recipe),
            ),
            owner,
            replaced: comparison.and_then(|it| it.inconsistent.clone()),
            wanted: self.wanted(candidate),
            limit,
        })))
    }

    /// Returns whether a service is built, by this run or by one that it waits for.
    fn is_built(&self, service: &ServiceName) -> bool {
        let verdict = self.verdicts.get(service);
        verdict.is_some_and(|it| it.decision == Decision::Build || it.awaited_from.is_some())
    }

    /// Returns the recipe of a service's image after the push.
    pub(super) fn published_recipe(&self, candidate: &PlanCandidate<'_>) -> Option<Recipe> {
        let name = &candidate.service.name;
        match self.verdicts.get(name).map(|verdict| verdict.decision) {
            // It was built by an earlier run, perhaps without tests: the label has the actual recipe.
            Some(Decision::Push) => {
                let image = self.inventory.in_engine(&candidate.image)?;
                image.labels.get(recipe::LABEL_RECIPE)?.parse().ok()
            }
            // Runs with tests must not mistake it for an image that passed them.
            _ if self.is_built(name) && !self.draft.options.test => {
                Some(self.recipes.get(name)?.without_tests())
            }
            _ => self.recipes.get(name).cloned(),
        }
    }

    /// Returns the images of the needed services.
    pub(super) fn needed_images(&self, candidate: &PlanCandidate<'_>) -> Vec<NeededImage> {
        let options = &self.draft.options;
        let needed = candidate.service.needs.iter().filter_map(|need| {
            let needed = self.draft.candidate(need)?;
            let is_published = options.push
                && !needed.is_local
                && !candidate.is_local
                && needed.pinned.is_none()
                && needed.image.repository().registry().is_some();
            let comparison = self.comparisons.get(need);
            let identity = comparison.and_then(|it| it.identity.clone());
            let identity = identity.map(|tag| needed.image.repository().tagged(tag));
            let identity = identity.or_else(|| {
                let recipe = self.former_recipe(needed);
                let recipe = recipe.or_else(|| self.published_recipe(needed))?;
                Some(needed.identity(&recipe))
            });
            Some(NeededImage {
                service: need.clone(),
                image: needed.image.clone(),
                identity: identity.filter(|_| is_published),
            })
        });
        needed.collect()
    }

    /// Returns the recipe of an existing image that has other names of needed services than the current one.
    fn former_recipe(&self, candidate: &PlanCandidate<'_>) -> Option<Recipe> {
        let name = &candidate.service.name;
        let comparison = self.comparisons.get(name)?;
        comparison
            .former_recipe
            .clone()
            .filter(|_| !self.is_built(name))
    }

    /// Returns which images of other runs are accepted for a service.
    fn wanted(&self, candidate: &PlanCandidate<'_>) -> Equivalence {
        let options = &self.draft.options;
        let former = self.former_recipe(candidate);
        match former
            .as_ref()
            .or_else(|| self.recipes.get(&candidate.service.name))
        {
            Some(recipe) if !options.trust_commit => Equivalence::Built {
                commit: candidate.source.commit,
                recipe: recipe.clone(),
                is_tested: options.test,
            },
            _ => Equivalence::Any,
        }
    }

    /// Returns the digest of the image in the registry.
    fn digest(&self, candidate: &PlanCandidate<'_>) -> Option<Digest> {
        let comparison = self.comparisons.get(&candidate.service.name)?;
        comparison.digest.clone()
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

/// Returns the images whose layers are reused with `docker.cache`: the latest ones of the service's branch and of the
/// manifest's. Images that are built in place need no network and are never pushed.
fn layers(candidate: &PlanCandidate<'_>) -> Option<Vec<ImageReference>> {
    let (service, source) = (candidate.service, candidate.source);
    let repository = candidate.image.repository();
    if !service.docker.cache || candidate.is_local || repository.registry().is_none() {
        return None;
    }
    let manifest_reference = source.manifest_reference.as_ref();
    let names = [
        candidate.variant.as_deref(),
        source.short_name(),
        manifest_reference.and_then(|reference| reference.short_name()),
    ];
    let mut images: Vec<ImageReference> = Vec::new();
    for name in names.into_iter().flatten() {
        let image = repository.tagged(Tag::from_branch(name));
        if !images.contains(&image) {
            images.push(image);
        }
    }
    Some(images)
}

/// Returns the branch or tag that is built, or else the commit, with a suffix if the working copy had changes.
fn version(source: &ServiceSource) -> String {
    let name = source
        .build_reference()
        .short_name()
        .map_or_else(|| source.commit.to_string(), str::to_owned);
    match source.changes() {
        Some(changes) => format!("{name}-dirty-{}", changes.digest),
        None => name,
    }
}
