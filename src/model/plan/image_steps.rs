//! The steps that build and push the image of a service.

use std::collections::BTreeMap;

use super::build_dir::BuildDir;
use super::decide::Decided;
use super::draft::PlanCandidate;
use super::scripts::{ScriptsAt, script_units};
use super::{Decision, ImageStep, IndexStep, Step};
use crate::model::event::Unit;
use crate::model::image::{ImageReference, Tag};
use crate::model::layout::Layout;
use crate::model::manifest::{ManifestError, SecretSource};
use crate::model::recipe::{self, Recipe};
use crate::model::source::{PathSelection, ServiceSource};

impl Decided<'_> {
    /// Adds the steps from the scripts to the push.
    pub(super) fn build_steps(
        &self,
        candidate: &PlanCandidate<'_>,
        build_dir: &BuildDir,
        layout: &Layout,
        steps: &mut Vec<Step>,
    ) -> Result<(), ManifestError> {
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
        let names: Vec<ImageReference> = std::iter::once(candidate.image.clone())
            .chain(self.names(candidate))
            .collect();
        let index = self.index(candidate);
        self.check_platforms(candidate, index.as_ref(), !verification.is_empty())?;
        let image_step = ImageStep {
            is_verified: !verification.is_empty(),
            names: names.clone(),
            ..self.image_step(candidate, build_dir, layout)?
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
        if has_registry && self.draft.options.push && !candidate.is_local {
            steps.push(self.push(candidate));
        }
        Ok(())
    }

    /// Returns the step that builds an image, without the image's names.
    ///
    /// # Errors
    ///
    /// A build argument cannot be rendered.
    fn image_step(
        &self,
        candidate: &PlanCandidate<'_>,
        build_dir: &BuildDir,
        layout: &Layout,
    ) -> Result<ImageStep, ManifestError> {
        let draft = &self.draft;
        let (service, source) = (candidate.service, candidate.source);
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
        Ok(ImageStep {
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
            labels: self.image_labels(candidate, layout),
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
            names: Vec::new(),
            is_verified: false,
            needs: self.needed_images(candidate),
        })
    }

    /// Returns the labels that are known before the commit is fetched.
    fn image_labels(
        &self,
        candidate: &PlanCandidate<'_>,
        layout: &Layout,
    ) -> BTreeMap<String, String> {
        let (service, source) = (candidate.service, candidate.source);
        let recipe = self.recipe(candidate, Decision::Build);
        let recipe = recipe.map(|recipe| {
            if self.draft.options.test {
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
        let last = self.draft.last_attachment(candidate);
        let supply = last.map(|last| last.label(&service.name));
        labels.extend(supply.map(|label| (recipe::LABEL_SUPPLY.to_owned(), label)));
        if candidate.is_local {
            let folder = layout.root().display().to_string();
            labels.insert(recipe::LABEL_LOCAL.to_owned(), folder);
        }
        labels
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
    pub(super) fn recipe(
        &self,
        candidate: &PlanCandidate<'_>,
        decision: Decision,
    ) -> Option<Recipe> {
        let recipe = self.recipes.get(&candidate.service.name)?.clone();
        Some(match decision {
            Decision::Build if candidate.is_local => recipe.of_working_copy(),
            _ => recipe,
        })
    }

    /// Returns the additional names that an image gets immediately.
    pub(super) fn names<'c>(
        &self,
        candidate: &'c PlanCandidate<'_>,
    ) -> impl Iterator<Item = ImageReference> + use<'c> {
        let immediately = !self.draft.options.all_or_nothing && !self.is_on_fleet();
        candidate.names().filter(move |_| immediately)
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
