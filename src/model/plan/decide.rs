//! The second stage of a plan: the decision table for each service.

use std::collections::{BTreeMap, BTreeSet};

use super::compare::{ComparisonResults, ImageComparison, ImageLookup};
use super::decision_errors::{DecisionError, DecisionErrors, status_of};
use super::draft::{PlanCandidate, PlanDraft};
use super::phases::PhaseVerdict;
use super::recipe::Folders;
use super::scripts::{unit_of, units, units_of};
use super::{Decision, Inventory, PlanError, Presence, Step, UnitPlan, UnknownImages};
use crate::base::plural::abbreviated;
use crate::model::event::Unit;
use crate::model::image::{ImageReference, Tag};
use crate::model::manifest::{ScriptPhase, ServiceName};
use crate::model::recipe::{Recipe, RecipeChange, RecipeStatus};

/// The decision for one service, and the reason.
#[derive(Debug)]
pub(super) struct ServiceVerdict {
    pub decision: Decision,
    pub reason: String,
    pub changes: Vec<RecipeChange>,
    /// The tags that the registry lacks or has on another image.
    pub registry_tags: Vec<Tag>,
    /// The names that the engine lacks or has on another image.
    pub engine_names: Vec<ImageReference>,
    /// The name in the engine of an image that first gets its own name.
    pub other_name: Option<ImageReference>,
    /// Who builds it, if the run waits for the image in the registry.
    pub awaited_from: Option<String>,
}

/// A draft with a decision for each service.
pub struct Decided<'a> {
    pub(super) draft: PlanDraft<'a>,
    pub(super) inventory: Inventory,
    pub(super) folders: Folders,
    /// The comparison of each service's image with its recipe.
    pub comparisons: BTreeMap<ServiceName, ImageComparison>,
    /// The current recipes of all services; with `--trust-commit`, only of those that are built.
    pub recipes: BTreeMap<ServiceName, Recipe>,
    /// The decisions for phases with `inputs`, by service.
    pub(super) phases: BTreeMap<ServiceName, Vec<PhaseVerdict>>,
    /// The plans of builder images, in case a result cannot be restored.
    pub(super) fallback: BTreeMap<Unit, UnitPlan>,
    /// The steps with which a fleet's engine gets builder images.
    pub(super) pulls: BTreeMap<Unit, Step>,
    /// The decisions by service; unselected services that no build needs are omitted.
    pub(super) verdicts: BTreeMap<ServiceName, ServiceVerdict>,
}

/// The maximum number of changed inputs in a reason.
const NAMED_CHANGES: usize = 3;

impl<'a> PlanDraft<'a> {
    /// Decides what to do with each service.
    ///
    /// # Errors
    ///
    /// A query to a registry failed, a recipe label cannot be read, or a build argument or a variable cannot be
    /// rendered.
    pub fn decide(self, inventory: Inventory, folders: Folders) -> Result<Decided<'a>, PlanError> {
        self.check_registries(&inventory)?;
        let refreshed = self.refreshed_bases(&inventory);
        let bases = inventory.bases.iter();
        UnknownImages::check(bases.filter(|(base, _)| refreshed.contains(*base)))?;
        let ComparisonResults {
            mut comparisons,
            mut recipes,
        } = self.compare(&inventory, &folders)?;
        for candidate in &self.candidates {
            if let Some(comparison) = comparisons.get_mut(&candidate.service.name) {
                self.pin(candidate, comparison, &inventory);
            }
        }
        let mut built = BTreeSet::new();
        let mut verdicts = loop {
            let (verdicts, now_built) = self.verdicts(&comparisons, &inventory, &built)?;
            // A build also triggers builds of its dependents, so repeat until nothing is added.
            let is_settled = now_built == built
                || (built.is_empty() && !self.adds_builds(&verdicts, &now_built));
            if self.options.trust_commit || is_settled {
                built = now_built;
                break verdicts;
            }
            built = now_built;
        };
        if self.options.trust_commit {
            recipes = self.recipes(&built, &folders)?;
        }
        self.restrict(&mut verdicts)?;
        Ok(Decided {
            draft: self,
            inventory,
            folders,
            comparisons,
            recipes,
            phases: BTreeMap::new(),
            fallback: BTreeMap::new(),
            pulls: BTreeMap::new(),
            verdicts,
        })
    }

    /// Returns whether builds change the decision on a dependent that was made without them.
    fn adds_builds(
        &self,
        verdicts: &BTreeMap<ServiceName, ServiceVerdict>,
        built: &BTreeSet<ServiceName>,
    ) -> bool {
        self.candidates.iter().any(|candidate| {
            let service = candidate.service;
            let verdict = verdicts.get(&service.name);
            verdict.is_some_and(|it| it.decision != Decision::Build)
                && service.needs.iter().any(|need| built.contains(need))
        })
    }

    /// Decides for each service, given that those in `rebuilt` are built. Also returns the services that these
    /// decisions build.
    fn verdicts(
        &self,
        comparisons: &BTreeMap<ServiceName, ImageComparison>,
        inventory: &Inventory,
        rebuilt: &BTreeSet<ServiceName>,
    ) -> Result<(BTreeMap<ServiceName, ServiceVerdict>, BTreeSet<ServiceName>), PlanError> {
        let mut verdicts = BTreeMap::new();
        let mut errors = DecisionErrors::default();
        let mut built = BTreeSet::new();
        let mut needed_by_a_build: BTreeSet<&ServiceName> = BTreeSet::new();
        // Dependents first: a service that was not selected matters only if one of its dependents is built.
        for candidate in self.candidates.iter().rev() {
            let name = &candidate.service.name;
            let is_needed = needed_by_a_build.contains(name);
            if !candidate.selected && !is_needed {
                continue;
            }
            let Some(comparison) = comparisons.get(name) else {
                continue;
            };
            let verdict = if self.options.force && candidate.selected {
                let option = if self.options.no_cache {
                    "--no-cache"
                } else {
                    "--force"
                };
                Ok(Choice::build(option.to_owned()))
            } else {
                self.choose(candidate, is_needed, comparison, inventory)
            };
            let choice = match verdict {
                Ok(choice) => choice.after_needs(candidate, rebuilt),
                Err(error) => {
                    errors.add(&candidate.image, error);
                    continue;
                }
            };
            if choice.decision == Decision::Build {
                needed_by_a_build.extend(&candidate.service.needs);
                built.insert(name.clone());
            }
            let verdict = self.verdict(candidate, choice, comparison, inventory);
            verdicts.insert(name.clone(), verdict);
        }
        errors.check()?;
        Ok((verdicts, built))
    }

    /// Accepts only the pinned image, and no other image of the same commit.
    fn pin(
        &self,
        candidate: &PlanCandidate<'_>,
        comparison: &mut ImageComparison,
        inventory: &Inventory,
    ) {
        let pinned = self.options.pinned.get(&candidate.service.name);
        let digest = pinned.and_then(|pinned| pinned.digest.as_ref());
        let Some(digest) = digest.filter(|digest| comparison.digest.as_ref() == Some(*digest))
        else {
            return;
        };
        let by_digest = candidate.image.repository().with_digest(digest.clone());
        let id = |image| inventory.in_engine(image).map(|image| &image.id);
        let pinned_id = id(&by_digest);
        comparison.registry = ImageLookup::Found(RecipeStatus::Verified);
        comparison.engine = if pinned_id.is_some() && pinned_id == id(&candidate.image) {
            ImageLookup::Found(RecipeStatus::Verified)
        } else {
            ImageLookup::Absent
        };
    }

    /// Fails if a query to a registry failed.
    ///
    /// Except for services that are built in place: they are never pushed, so their registries do not matter.
    fn check_registries(&self, inventory: &Inventory) -> Result<(), UnknownImages> {
        let local = self
            .candidates
            .iter()
            .filter(|candidate| candidate.source.local.is_some());
        let local: BTreeSet<&ImageReference> = local.map(|candidate| &candidate.image).collect();
        let queried = inventory.registry.iter();
        UnknownImages::check(queried.filter(|(image, _)| !local.contains(image)))
    }

    /// Decides from the existing images and their recipes.
    ///
    /// Images that are built in place are never pushed, so the registry matters only if it has an image of the
    /// commit and the working copy has no changes.
    fn choose(
        &self,
        candidate: &PlanCandidate<'_>,
        is_needed: bool,
        comparison: &ImageComparison,
        inventory: &Inventory,
    ) -> Result<Choice, DecisionError> {
        let push = self.options.push && !candidate.is_local;
        // Dependents are built from the engine's image, which must be the registry's.
        let pull = (self.options.pull || is_needed)
            && self.options.fleet.is_none()
            && inventory.runs(candidate.platforms());
        let (registry, in_registry) = match &candidate.source.local {
            None => {
                let registry = candidate.image.repository().registry();
                (registry, status_of(&comparison.registry)?)
            }
            Some(_) => {
                let recipe_status = comparison.registry.recipe_status();
                let registry = candidate.image.repository().registry();
                (registry.filter(|_| recipe_status.is_some()), recipe_status)
            }
        };
        // An unreadable image in the engine does not matter if the registry's image replaces it.
        let in_engine = match (in_registry, status_of(&comparison.engine)) {
            (Some(RecipeStatus::Verified | RecipeStatus::Unverified), Err(_)) => None,
            (_, in_engine) => in_engine?,
        };
        // An engine has the image of one platform, which cannot be pushed instead of the index.
        let is_part = self.is_index(candidate)
            && matches!(in_registry, None | Some(RecipeStatus::Stale(_)))
            && in_engine.is_some();
        let in_engine = in_engine.filter(|_| !is_part);
        let choice = |decision, reason: &str| Choice {
            decision,
            reason: reason.to_owned(),
            changes: Vec::new(),
        };
        let new_commit = match &candidate.variant {
            _ if is_part => "in the engine for one platform, not in the registry".to_owned(),
            None => "new commit".to_owned(),
            Some(variant) => format!("new commit with {variant}"),
        };
        let registry_text = match &comparison.identity {
            Some(tag) => format!("in the registry as {tag}"),
            None => "in the registry".to_owned(),
        };
        let chosen = match (registry, in_registry, in_engine) {
            (Some(_), Some(RecipeStatus::Stale(changes)), Some(RecipeStatus::Verified)) => Choice {
                decision: if push { Decision::Push } else { Decision::Skip },
                reason: if push {
                    format!(
                        "the registry's image differs: {}",
                        abbreviated(changes, NAMED_CHANGES)
                    )
                } else {
                    self.not_pushed(candidate)
                },
                changes: changes.clone(),
            },
            (Some(_), Some(RecipeStatus::Stale(changes)), _)
            | (Some(_) | None, None, Some(RecipeStatus::Stale(changes))) => Choice {
                decision: Decision::Build,
                reason: abbreviated(changes, NAMED_CHANGES),
                changes: changes.clone(),
            },
            (Some(_), Some(_), Some(RecipeStatus::Stale(changes))) if pull => Choice {
                decision: Decision::Pull,
                reason: format!(
                    "{registry_text}; the engine's image differs: {}",
                    abbreviated(changes, NAMED_CHANGES)
                ),
                changes: changes.clone(),
            },
            (Some(_), Some(_), Some(RecipeStatus::Stale(_))) => {
                choice(Decision::Skip, &registry_text)
            }
            (Some(_), Some(_), Some(_)) => {
                choice(Decision::Skip, &format!("{registry_text} and the engine"))
            }
            (Some(_), Some(_), None) if pull => choice(
                Decision::Pull,
                &format!("{registry_text}, not in the engine"),
            ),
            (Some(_), Some(_), None) => choice(Decision::Skip, &registry_text),
            (Some(_), None, Some(_)) if push => {
                choice(Decision::Push, "in the engine, not in the registry")
            }
            (Some(_), None, Some(_)) => choice(Decision::Skip, &self.not_pushed(candidate)),
            (Some(_), None, None) => Choice::build(new_commit),
            (None, _, Some(_)) => choice(Decision::Skip, "in the engine"),
            (None, _, None) => Choice::build(match candidate.source.changes() {
                Some(changes) => format!("changed: {changes}"),
                None => new_commit,
            }),
        };
        let chosen = match &comparison.registry {
            ImageLookup::FromWorkingCopy => chosen.note_local_build_in_registry(),
            _ => chosen,
        };
        let chosen = match comparison.engine {
            ImageLookup::FromWorkingCopy => chosen.note_local_build_in_engine(),
            _ => chosen,
        };
        let is_unverified = in_registry.or(in_engine) == Some(&RecipeStatus::Unverified);
        Ok(if is_unverified {
            chosen.unverified()
        } else {
            chosen
        })
    }

    fn not_pushed(&self, candidate: &PlanCandidate<'_>) -> String {
        let reason = if candidate.is_local {
            "in the engine"
        } else {
            "in the engine; --no-push"
        };
        reason.to_owned()
    }

    fn verdict(
        &self,
        candidate: &PlanCandidate<'_>,
        choice: Choice,
        comparison: &ImageComparison,
        inventory: &Inventory,
    ) -> ServiceVerdict {
        let registry = candidate.image.repository().registry();
        let in_registry = comparison.digest.as_ref();
        let in_engine = match comparison.engine {
            // It must not get the names of the commit's image.
            ImageLookup::FromWorkingCopy => None,
            _ => inventory.in_engine(&candidate.image),
        };
        let Choice {
            mut decision,
            mut reason,
            changes,
        } = choice;
        let other_name = inventory.other_names.get(&candidate.image);
        let other_name = other_name.filter(|_| matches!(decision, Decision::Push | Decision::Skip));
        if let Some(name) = other_name {
            reason = format!("in the engine as {name}");
            if decision == Decision::Skip {
                decision = Decision::Tag;
            }
        }
        if inventory.incomplete.contains(&candidate.image) {
            reason.push_str("; the registry's image is incomplete");
        }
        if let Some(why) = inventory.rejection(candidate.image.repository()) {
            reason.push_str(&format!("; the registry's image {why}"));
        }

        let registry_tags: Vec<Tag> = match (registry, decision) {
            (Some(_), _) if !self.options.push || candidate.is_local => Vec::new(),
            (None, _) => Vec::new(),
            // The push itself sets the commit's tag.
            (Some(_), Decision::Build | Decision::Push) => candidate.tags.clone(),
            (Some(_), _) => {
                let moved =
                    comparison.identity.is_some() && in_registry != comparison.by_commit.as_ref();
                let moved = moved.then(|| candidate.image.clone());
                let differs = |name: &ImageReference| {
                    !matches!(
                        (inventory.registry.get(name), in_registry),
                        (Some(Presence::Present(tagged)), Some(commit)) if tagged == commit
                    )
                };
                moved
                    .into_iter()
                    .chain(candidate.names().filter(differs))
                    .filter_map(|name| name.tag().cloned())
                    .collect()
            }
        };
        let engine_names: Vec<ImageReference> = match (decision, in_engine) {
            // A fleet's engines keep no images.
            _ if self.options.fleet.is_some() => Vec::new(),
            // The engine gets no image of an index that has none for its platform.
            _ if self.is_index(candidate) && !inventory.runs(candidate.platforms()) => Vec::new(),
            (Decision::Build, _) if self.options.all_or_nothing => candidate.names().collect(),
            (Decision::Build, _) => Vec::new(),
            (Decision::Pull, _) => candidate.names().collect(),
            (_, None) => Vec::new(),
            (_, Some(image)) => candidate
                .names()
                .filter(|name| {
                    inventory
                        .in_engine(name)
                        .is_none_or(|named| named.id != image.id)
                })
                .collect(),
        };
        if decision == Decision::Skip && !(registry_tags.is_empty() && engine_names.is_empty()) {
            decision = Decision::Tag;
            let tags: BTreeSet<&str> = registry_tags
                .iter()
                .chain(engine_names.iter().filter_map(|name| name.tag()))
                .map(Tag::as_str)
                .collect();
            reason = format!(
                "{reason}; tags to update: {}",
                tags.into_iter().collect::<Vec<_>>().join(", ")
            );
        }
        ServiceVerdict {
            decision,
            reason,
            changes,
            registry_tags,
            engine_names,
            other_name: other_name.cloned(),
            awaited_from: None,
        }
    }
}

/// A decision and its reason, without tags.
struct Choice {
    decision: Decision,
    reason: String,
    changes: Vec<RecipeChange>,
}

impl Choice {
    /// Changes the decision to a build if a needed image is rebuilt.
    fn after_needs(self, candidate: &PlanCandidate<'_>, rebuilt: &BTreeSet<ServiceName>) -> Self {
        let mut needs = candidate.service.needs.iter();
        match needs.find(|need| rebuilt.contains(*need)) {
            Some(need) if self.decision != Decision::Build && candidate.pinned.is_none() => {
                let changes = vec![RecipeChange::of_needed_image(need.as_str())];
                Self {
                    decision: Decision::Build,
                    reason: format!("{need} is built"),
                    changes,
                }
            }
            _ => self,
        }
    }

    fn build(reason: String) -> Self {
        Self {
            decision: Decision::Build,
            reason,
            changes: Vec::new(),
        }
    }

    /// Adds why the registry's image is ignored: a local build was pushed manually.
    fn note_local_build_in_registry(mut self) -> Self {
        if matches!(self.decision, Decision::Build | Decision::Push) {
            let why = "; the registry's image was built with --local";
            self.reason.push_str(why);
        }
        self
    }

    /// Adds why the engine's image is ignored.
    fn note_local_build_in_engine(mut self) -> Self {
        if matches!(self.decision, Decision::Build | Decision::Pull) {
            let why = "; the engine's image was built with --local";
            self.reason.push_str(why);
        }
        self
    }

    fn unverified(mut self) -> Self {
        self.reason.push_str(", unverified");
        self
    }
}

impl Decided<'_> {
    /// Returns the builder images that the builds use.
    pub fn builders(&self) -> BTreeSet<Unit> {
        let mut builders = self.builders_of(|_| true);
        builders.extend(self.sbom_units());
        builders
    }

    /// Returns those of the builder images that are used if all results can be read that the plan restores.
    pub(super) fn used_builders(&self) -> BTreeSet<Unit> {
        let builds = self.builds();
        let used = builds.flat_map(|candidate| self.used_units(candidate));
        used.chain(self.sbom_units()).collect()
    }

    /// Returns the builder images that the build of a service uses, except for restored phases.
    pub(super) fn used_units(&self, candidate: &PlanCandidate<'_>) -> Vec<Unit> {
        let test = self.draft.options.test;
        let runs =
            |phase: ScriptPhase| (test || !phase.is_test()) && !self.is_restored(candidate, phase);
        let plugin = plugin_unit(candidate);
        let units = units_of(candidate.service, &runs).into_iter();
        units.chain(plugin).collect()
    }

    fn builders_of(&self, filter: impl Fn(&PlanCandidate<'_>) -> bool) -> BTreeSet<Unit> {
        // With `--no-test`, a service that only has test scripts needs no builder.
        let test = self.draft.options.test;
        let builds = self.builds().filter(|it| filter(it));
        builds
            .flat_map(|candidate| {
                let units = units(candidate.service, test).into_iter();
                units.chain(plugin_unit(candidate))
            })
            .collect()
    }

    /// Returns the builder images from folders that must be queried in a registry. Builds of working copies are not
    /// pushed and need only those that the engine lacks.
    pub fn builder_images(&self) -> Vec<ImageReference> {
        let mut for_commits = self.builders_of(|candidate| !candidate.is_local);
        for_commits.extend(self.sbom_units());
        let units = self.builders();
        let folders = units
            .iter()
            .filter_map(|unit| Some((unit, self.folders.get(unit)?)));
        let wanted = folders.filter(|(unit, folder)| {
            let in_engine = self.inventory.in_engine(&folder.image).is_some();
            folder.image.repository().registry().is_some()
                && (for_commits.contains(unit) || !in_engine)
        });
        let wanted = wanted.map(|(_, folder)| folder);
        let folders = wanted.flat_map(|folder| {
            let newest = folder.newest().filter(|_| self.draft.options.push);
            std::iter::once(folder.image.clone()).chain(newest)
        });
        folders.chain(self.followed_builders()).collect()
    }

    /// Returns the external builder images to query, with `--refresh-bases` or `docker.bases: track`.
    fn followed_builders(&self) -> Vec<ImageReference> {
        let is_followed = |candidate: &PlanCandidate<'_>| {
            self.draft.options.refresh_bases || self.draft.tracks_bases(candidate)
        };
        let units = self.builders_of(is_followed).into_iter();
        let external = units.filter_map(|unit| match unit {
            Unit::External(image) if image.digest().is_none() => Some(image.with_defaults()),
            _ => None,
        });
        external.collect()
    }

    pub(super) fn builds(&self) -> impl Iterator<Item = &PlanCandidate<'_>> {
        self.draft.candidates.iter().filter(|candidate| {
            self.verdicts
                .get(&candidate.service.name)
                .is_some_and(|verdict| verdict.decision == Decision::Build)
        })
    }
}

/// Returns the image of the plugin that fetches the source of a service.
pub(super) fn plugin_unit(candidate: &PlanCandidate<'_>) -> Option<Unit> {
    let is_fetched = candidate.source.local.is_none();
    let plugin = candidate.service.source.plugin().filter(|_| is_fetched)?;
    Some(unit_of(&plugin.image))
}
