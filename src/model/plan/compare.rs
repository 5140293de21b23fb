//! Compares existing images with the current build inputs.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

use super::draft::{PlanCandidate, PlanDraft};
use super::former_names::FormerNames;
use super::recipe::Folders;
use super::scripts::units;
use super::{Inventory, Presence, QueryFailure};
use super::{bases, built_from, platforms};
use crate::model::event::Unit;
use crate::model::image::{
    Digest, EngineImage, ImageIds, ImageReference, ImageRepository, Labels, Platform,
    PublishedImage, Tag,
};
use crate::model::manifest::{ManifestError, ServiceName};
use crate::model::recipe::{
    InvalidRecipe, LABEL_RECIPE, LABEL_REVISION, Recipe, RecipeChange, RecipeStatus,
};

/// The result of looking up an image in the engine or its registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageLookup {
    /// Not queried: the image has no registry.
    NotQueried,
    /// It does not exist.
    Absent,
    /// Whether it exists, or what it was built from, is unknown because a query failed.
    Unknown(QueryFailure),
    /// It exists, but its recipe label cannot be read.
    UnreadableRecipe(InvalidRecipe),
    /// It exists, but was built from a working copy with `--local`: it may differ from the commit.
    FromWorkingCopy,
    /// It exists.
    Found(RecipeStatus),
}

impl ImageLookup {
    /// Returns whether the image exists and is up to date, as far as that is known.
    pub fn is_usable(&self) -> bool {
        matches!(
            self,
            Self::Found(RecipeStatus::Verified | RecipeStatus::Unverified)
        )
    }

    /// Returns the recipe status of the image, if it exists and is known.
    pub fn recipe_status(&self) -> Option<&RecipeStatus> {
        match self {
            Self::Found(recipe_status) => Some(recipe_status),
            _ => None,
        }
    }
}

/// A service's existing image, compared with the current build inputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageComparison {
    /// The image in the registry: the one with the commit's tag, or the one with the identity tag if only that is up
    /// to date.
    pub registry: ImageLookup,
    /// Its digest in the registry.
    pub digest: Option<Digest>,
    /// The identity tag, if only that is on the image and the commit's tag is missing or on another one.
    pub identity: Option<Tag>,
    /// The digest that the commit's tag points to in the registry.
    pub by_commit: Option<Digest>,
    /// The digest that the identity tag points to in the registry, if that image is not up to date.
    pub inconsistent: Option<Digest>,
    /// The image in the engine.
    pub engine: ImageLookup,
    /// The recipe of the current image, if it has other names of needed services; see
    /// [`PlanDraft::former_names`].
    pub former_recipe: Option<Recipe>,
    /// The IDs of the current image; `None` if there is none or they are unknown.
    pub ids: Option<ImageIds>,
    /// The images in the registry's index that are up to date although the index is not.
    pub kept: Vec<(Platform, Digest)>,
}

impl PlanDraft<'_> {
    /// Returns, by digest, the images without descriptions: those that are only in registries, and those that may be
    /// for several platforms.
    pub fn undescribed(&self, inventory: &Inventory) -> Vec<ImageReference> {
        if self.options.trust_commit {
            return Vec::new();
        }
        let candidates = self.candidates.iter();
        self.undescribed_among(inventory, candidates.map(PlanCandidate::registry_image))
    }

    /// Like [`PlanDraft::undescribed`], for some images.
    pub fn undescribed_among(
        &self,
        inventory: &Inventory,
        images: impl IntoIterator<Item = ImageReference>,
    ) -> Vec<ImageReference> {
        if !self.has_platforms() {
            return inventory.undescribed(images);
        }
        let with_platforms = self
            .candidates
            .iter()
            .filter(|it| !it.platforms().is_empty());
        let with_platforms: BTreeSet<&ImageRepository> =
            with_platforms.map(|it| it.image.repository()).collect();
        let (indexes, others): (Vec<_>, Vec<_>) = images
            .into_iter()
            .partition(|image| with_platforms.contains(image.repository()));
        let mut undescribed = inventory.undescribed(others);
        undescribed.extend(inventory.unread(indexes));
        undescribed
    }

    /// Returns the identity tags to query if the images with the commits' tags are not up to date: the image may still
    /// exist under its identity tag.
    pub fn identities(&self, inventory: &Inventory, folders: &Folders) -> Vec<ImageReference> {
        if self.options.trust_commit {
            return Vec::new();
        }
        let survey = self.compare_partially(inventory, folders);
        let mut wanted = BTreeSet::new();
        for candidate in &self.candidates {
            let name = &candidate.service.name;
            let has_registry = candidate.image.repository().registry().is_some();
            let is_forced = self.options.force && candidate.selected;
            let (Some((comparison, _)), Some(recipe)) =
                (survey.comparisons.get(name), survey.recipes.get(name))
            else {
                continue;
            };
            let is_wanted = matches!(
                comparison.registry,
                ImageLookup::Absent
                    | ImageLookup::FromWorkingCopy
                    | ImageLookup::Found(RecipeStatus::Stale(_))
            );
            if is_wanted
                && has_registry
                && !is_forced
                && !candidate.is_local
                && candidate.pinned.is_none()
            {
                wanted.extend(self.identities_of(candidate, recipe));
            }
        }
        wanted.into_iter().collect()
    }

    /// Returns the identity tags of the images that are equivalent to a build now.
    fn identities_of(
        &self,
        candidate: &PlanCandidate<'_>,
        recipe: &Recipe,
    ) -> impl Iterator<Item = ImageReference> {
        let untested = (!self.options.test).then(|| recipe.without_tests());
        let recipes = std::iter::once(recipe.clone()).chain(untested);
        recipes.map(|recipe| candidate.identity(&recipe))
    }

    /// Compares the image of each service with its recipe. With `--trust-commit`, nothing is compared and there are no
    /// recipes: existing images count as verified.
    ///
    /// # Errors
    ///
    /// A build argument or a variable cannot be rendered.
    pub fn compare(
        &self,
        inventory: &Inventory,
        folders: &Folders,
    ) -> Result<ComparisonResults, ManifestError> {
        if self.options.trust_commit {
            let comparisons = self.comparisons(&BTreeMap::new(), inventory);
            return Ok(ComparisonResults {
                comparisons,
                recipes: BTreeMap::new(),
            });
        }
        self.compare_all(inventory, folders)
    }

    /// Returns the labels of a service's image in the registry, if they are known.
    pub(super) fn published_labels<'i>(
        &self,
        candidate: &PlanCandidate<'_>,
        inventory: &'i Inventory,
    ) -> Option<&'i Labels> {
        match inventory.registry.get(&candidate.registry_image())? {
            Presence::Present(digest) => labels_of(candidate, digest, inventory)?.ok(),
            Presence::Absent | Presence::Unknown(_) => None,
        }
    }

    /// Like [`PlanDraft::compare`], but also compares with `--trust-commit`.
    pub(super) fn compare_all(
        &self,
        inventory: &Inventory,
        folders: &Folders,
    ) -> Result<ComparisonResults, ManifestError> {
        let recipes = self.recipes(&self.services(), folders)?;
        Ok(ComparisonResults {
            comparisons: self.comparisons(&recipes, inventory),
            recipes,
        })
    }

    fn comparisons(
        &self,
        recipes: &BTreeMap<ServiceName, Recipe>,
        inventory: &Inventory,
    ) -> BTreeMap<ServiceName, ImageComparison> {
        let comparisons = self.values_in_order(|candidate, comparisons| {
            let recipe = recipes.get(&candidate.service.name);
            let comparison = self.comparison(candidate, recipe, inventory, comparisons);
            Ok::<_, Infallible>(Some(comparison))
        });
        let Ok(comparisons) = comparisons;
        comparisons
    }

    /// Like [`PlanDraft::compare`], but a template that cannot be rendered or a builder that cannot be read affects only
    /// the services that use it.
    pub fn compare_partially(&self, inventory: &Inventory, folders: &Folders) -> PartialComparison {
        let (mut recipes, mut problems) = (BTreeMap::new(), Vec::new());
        // Candidates are in dependency order.
        for candidate in &self.candidates {
            let name = &candidate.service.name;
            let is_read = |unit: Unit| match unit {
                Unit::Builder(_) => folders.contains_key(&unit),
                _ => true,
            };
            let mut needs = candidate.service.needs.iter();
            let is_known = needs.all(|need| recipes.contains_key(need))
                && units(candidate.service, true).into_iter().all(is_read);
            if is_known {
                match self.recipe(candidate, folders, &recipes) {
                    Ok(recipe) => _ = recipes.insert(name.clone(), recipe),
                    Err(problem) => problems.push(problem),
                }
            }
        }
        let comparisons = self.comparisons(&recipes, inventory).into_iter();
        let comparisons = comparisons.map(|(name, comparison)| {
            let is_compared = recipes.contains_key(&name);
            (name, (comparison, is_compared))
        });
        PartialComparison {
            comparisons: comparisons.collect(),
            recipes,
            problems,
        }
    }

    pub(super) fn comparison(
        &self,
        candidate: &PlanCandidate<'_>,
        recipe: Option<&Recipe>,
        inventory: &Inventory,
        earlier: &BTreeMap<ServiceName, ImageComparison>,
    ) -> ImageComparison {
        let with_bases = |status: RecipeStatus, labels: Option<&Labels>| {
            // An image that another tool built records nothing.
            let is_tracked = self.tracks_bases(candidate) && status == RecipeStatus::Verified;
            if self.refreshes(candidate) || is_tracked {
                bases::with_moved(status, labels, inventory)
            } else {
                status
            }
        };
        let no_names = FormerNames::new();
        let inputs = |labels: Option<&Labels>| {
            let status = same_inputs(candidate, labels, &no_names, earlier);
            with_bases(status, labels)
        };
        let current = recipe.map(ToString::to_string);
        let is_tested = self.options.test;
        let recipe_status = |labels: Option<&Labels>| {
            let label = labels.and_then(|labels| labels.get(LABEL_RECIPE));
            // Fast path: most images are up to date, and then the label need not be parsed.
            if current.is_some() && label == current.as_ref() {
                return ImageLookup::Found(inputs(labels));
            }
            let before = label.and_then(|label| label.parse::<Recipe>().ok());
            let of_working_copy = before.as_ref().is_some_and(Recipe::is_of_working_copy);
            if of_working_copy && !candidate.is_local {
                return ImageLookup::FromWorkingCopy;
            }
            let Some(recipe) = recipe.cloned() else {
                return ImageLookup::Found(RecipeStatus::Verified);
            };
            // For a local build, an image of the working copy and one of its commit are both fine.
            let recipe = if of_working_copy {
                recipe.of_working_copy()
            } else {
                recipe
            };
            match RecipeStatus::of(label.map(String::as_str), &recipe, is_tested) {
                Ok(RecipeStatus::Verified) => ImageLookup::Found(inputs(labels)),
                Ok(recipe_status) => {
                    let former = before.and_then(|before| {
                        self.former_names(candidate, &recipe, &before, is_tested, earlier)
                    });
                    let status = match former {
                        Some(former) => same_inputs(candidate, labels, &former, earlier),
                        None => recipe_status,
                    };
                    ImageLookup::Found(with_bases(status, labels))
                }
                Err(invalid) => ImageLookup::UnreadableRecipe(invalid),
            }
        };
        let mut kept = Vec::new();
        let mut in_registry = |image: &ImageReference| match inventory.registry.get(image) {
            None => (ImageLookup::NotQueried, None),
            Some(Presence::Absent) => (ImageLookup::Absent, None),
            Some(Presence::Unknown(refusal)) => (ImageLookup::Unknown(refusal.clone()), None),
            Some(Presence::Present(digest)) => {
                let published = inventory.published.get(digest);
                let index = published.and_then(|it| it.as_ref().ok());
                let index = index.filter(|_| self.is_index(candidate) && recipe.is_some());
                if let Some(index) = index {
                    let look_up = |labels: &Labels| recipe_status(Some(labels));
                    let compared =
                        platforms::compare(candidate.platforms(), digest, index, look_up);
                    if kept.is_empty() {
                        kept = compared.kept;
                    }
                    return (compared.lookup, Some(digest.clone()));
                }
                let lookup = match (labels_of(candidate, digest, inventory), recipe) {
                    (_, None) => recipe_status(None),
                    (Some(Ok(labels)), _) => recipe_status(Some(labels)),
                    (Some(Err(refusal)), _) => ImageLookup::Unknown(refusal.clone()),
                    // The labels were not queried, so there is no reason to reject the image.
                    (None, Some(_)) => ImageLookup::Found(RecipeStatus::Unverified),
                };
                (lookup, Some(digest.clone()))
            }
        };
        let (registry, digest) = in_registry(&candidate.registry_image());
        let mut comparison = ImageComparison {
            registry,
            by_commit: digest.clone().filter(|_| candidate.pinned.is_none()),
            digest,
            identity: None,
            inconsistent: None,
            engine: match inventory.in_engine(&candidate.image) {
                None => ImageLookup::Absent,
                Some(image) => recipe_status(Some(&image.labels)),
            },
            former_recipe: None,
            ids: None,
            kept: Vec::new(),
        };
        let is_settled = comparison.registry.is_usable() || candidate.pinned.is_some();
        let recipe_to_find = recipe.filter(|_| !is_settled);
        let identities = recipe_to_find.map(|recipe| self.identities_of(candidate, recipe));
        for identity in identities.into_iter().flatten() {
            if comparison.registry.is_usable() {
                break;
            }
            match in_registry(&identity) {
                (ImageLookup::Found(RecipeStatus::Verified), digest) => {
                    comparison.registry = ImageLookup::Found(RecipeStatus::Verified);
                    comparison.digest = digest;
                    comparison.identity = identity.tag().cloned();
                }
                // A failed query must not cause a build.
                (unknown @ ImageLookup::Unknown(_), _) => comparison.registry = unknown,
                (ImageLookup::NotQueried | ImageLookup::Absent, _) => {}
                (_, digest) => comparison.inconsistent = digest,
            }
        }
        if !comparison.registry.is_usable() {
            comparison.kept = kept;
        }
        if let Some(recipe) = recipe {
            let published = comparison.digest.as_ref();
            let is_pinned = candidate.pinned.is_some();
            let published = published.filter(|_| is_pinned || comparison.registry.is_usable());
            let image = inventory.in_engine(&candidate.image);
            let labels = match published {
                Some(digest) => labels_of(candidate, digest, inventory).and_then(Result::ok),
                None if comparison.engine.is_usable() => image.map(|image| &image.labels),
                None => None,
            };
            let label = labels.and_then(|labels| labels.get(LABEL_RECIPE));
            let of_image = label.filter(|label| Some(*label) != current.as_ref());
            let of_image = of_image.and_then(|label| label.parse::<Recipe>().ok());
            comparison.former_recipe = of_image.filter(|before| {
                // Without the tests, it is the current recipe.
                let changes = recipe.stale_inputs(before, is_tested);
                !changes.is_empty() && !before.is_of_working_copy()
            });
            match published {
                Some(digest) if !candidate.is_local => {
                    let ids = published_ids(candidate, digest, inventory);
                    // Two runners may have built it at the same time: the registry's image takes precedence.
                    let is_other = |image: &EngineImage| {
                        ids.as_ref().is_some_and(|ids| !ids.contains(&image.id))
                    };
                    if comparison.engine.is_usable() && !is_pinned && image.is_some_and(is_other) {
                        let other = RecipeStatus::Stale(vec![RecipeChange::of_image()]);
                        comparison.engine = ImageLookup::Found(other);
                    }
                    comparison.ids = ids;
                }
                _ if comparison.engine.is_usable() => {
                    comparison.ids = image.map(|image| ImageIds::new([image.id.as_str()]));
                }
                _ => {}
            }
        }
        comparison
    }
}

/// The results of [`PlanDraft::compare`].
#[derive(Debug)]
pub struct ComparisonResults {
    /// The comparison of each service's image.
    pub comparisons: BTreeMap<ServiceName, ImageComparison>,
    /// The current recipes; empty with `--trust-commit`.
    pub recipes: BTreeMap<ServiceName, Recipe>,
}

/// The results of [`PlanDraft::compare_partially`].
#[derive(Debug)]
pub struct PartialComparison {
    /// The comparison of each service's image, and whether it was compared with a recipe: without one, only its
    /// existence is known.
    pub comparisons: BTreeMap<ServiceName, (ImageComparison, bool)>,
    /// The current recipes of the services that were compared.
    pub recipes: BTreeMap<ServiceName, Recipe>,
    /// Why some were not compared.
    pub problems: Vec<ManifestError>,
}

impl ImageLookup {
    /// Returns the result as text, such as `verified`.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::NotQueried => "no registry".to_owned(),
            Self::Absent => "absent".to_owned(),
            Self::Unknown(refusal) => format!("unknown: {}", refusal.why),
            Self::UnreadableRecipe(invalid) => format!("unknown: {invalid}"),
            Self::FromWorkingCopy => "built from a working copy with --local".to_owned(),
            Self::Found(RecipeStatus::Verified) => "verified".to_owned(),
            Self::Found(RecipeStatus::Unverified) => {
                "unverified: the image does not record what it was built from".to_owned()
            }
            Self::Found(RecipeStatus::Stale(changes)) => {
                let changes: Vec<String> = changes.iter().map(ToString::to_string).collect();
                format!("stale: {}", changes.join(", "))
            }
        }
    }
}

/// Returns the status of an image with a matching recipe. According to its labels, it may still be of another commit,
/// despite this commit's tag, or have been built from other images of the needed services.
fn same_inputs(
    candidate: &PlanCandidate<'_>,
    labels: Option<&Labels>,
    former: &FormerNames,
    earlier: &BTreeMap<ServiceName, ImageComparison>,
) -> RecipeStatus {
    let revision = labels.and_then(|labels| labels.get(LABEL_REVISION));
    if revision.is_some_and(|revision| *revision != candidate.source.commit.to_string()) {
        return RecipeStatus::Stale(vec![RecipeChange::of_commit()]);
    }
    if candidate.pinned.is_some() {
        return RecipeStatus::Verified;
    }
    built_from::recipe_status(candidate, labels, former, earlier)
}

/// Returns the IDs of an image in the registry; `None` if they are unknown.
fn published_ids(
    candidate: &PlanCandidate<'_>,
    digest: &Digest,
    inventory: &Inventory,
) -> Option<ImageIds> {
    let by_digest = candidate.image.repository().with_digest(digest.clone());
    let in_engine = inventory.in_engine(&by_digest).map(|it| it.id.as_str());
    let described = inventory
        .published
        .get(digest)
        .and_then(|it| it.as_ref().ok());
    let parts = described.into_iter().flat_map(PublishedImage::digests);
    let others: Vec<&str> = in_engine
        .into_iter()
        .chain(parts.map(Digest::as_str))
        .collect();
    if others.is_empty() {
        return None;
    }
    let ids = std::iter::once(digest.as_str()).chain(others);
    Some(ImageIds::new(ids))
}

/// Returns the labels of an image in the registry, or why they are unknown; `None` if they were not queried.
pub(super) fn labels_of<'i>(
    candidate: &PlanCandidate<'_>,
    digest: &Digest,
    inventory: &'i Inventory,
) -> Option<Result<&'i Labels, &'i QueryFailure>> {
    let by_digest = candidate.image.repository().with_digest(digest.clone());
    let in_engine = inventory.in_engine(&by_digest);
    in_engine.map(|image| Ok(&image.labels)).or_else(|| {
        let described = inventory.published.get(digest)?;
        Some(described.as_ref().map(|image| &image.labels))
    })
}
