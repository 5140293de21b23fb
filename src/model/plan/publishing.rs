//! What a service has in its registry after the run, and which images of other runs are used instead.

use super::decide::{Decided, ServiceVerdict};
use super::draft::PlanCandidate;
use super::{AwaitStep, ConcurrentPush, Decision, Equivalence, NeededImage, PushStep, Step};
use crate::model::image::Digest;
use crate::model::manifest::ServiceName;
use crate::model::recipe::{self, Recipe};

impl Decided<'_> {
    /// Returns the step that pushes the image of a service.
    pub(super) fn push(&self, candidate: &PlanCandidate<'_>) -> Step {
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
    pub(super) fn awaited(
        &self,
        candidate: &PlanCandidate<'_>,
        verdict: &ServiceVerdict,
    ) -> Option<Step> {
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
    pub(super) fn is_built(&self, service: &ServiceName) -> bool {
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
    pub(super) fn digest(&self, candidate: &PlanCandidate<'_>) -> Option<Digest> {
        let comparison = self.comparisons.get(&candidate.service.name)?;
        comparison.digest.clone()
    }
}
