//! How the images that exist stand to today's inputs.

use std::collections::{BTreeMap, BTreeSet};

use super::built_from;
use super::decide::builder_unit;
use super::draft::{Candidate, Draft};
use super::recipe::{Folders, TESTS};
use super::{Inventory, Presence, Refusal};
use crate::event::Unit;
use crate::image::{Digest, EngineImage, ImageIds, ImageReference, Labels, Tag};
use crate::manifest::{ManifestError, ServiceName};
use crate::recipe::{Change, InvalidRecipe, LABEL_RECIPE, LABEL_REVISION, Recipe, Standing};

/// What was found of an image in one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sighting {
    /// It was not looked for: the image belongs to no registry.
    NotAsked,
    /// It is not there.
    Absent,
    /// It cannot be told whether it is there, or what it was built from.
    Unknown(Refusal),
    /// It is there, and its label cannot be read.
    Damaged(InvalidRecipe),
    /// It is there, and was built from a working copy by `--local`: it may hold what the commit does not.
    OfWorkingCopy,
    /// It is there.
    Found(Standing),
}

impl Sighting {
    /// Returns how the image stands to today's inputs, where it is there.
    pub fn standing(&self) -> Option<&Standing> {
        match self {
            Self::Found(standing) => Some(standing),
            _ => None,
        }
    }
}

/// A service's image by its commit, compared with what it would be built from today.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparison {
    /// The image in the registry: the one of the commit's tag, or of its identity tag where that is as it should be
    /// and the other one is not.
    pub registry: Sighting,
    /// The digest that the registry has it by.
    pub digest: Option<Digest>,
    /// The identity tag, where the registry has the image by that tag and another one, or none, by the commit's.
    pub identity: Option<Tag>,
    /// What the registry has by the commit's tag.
    pub by_commit: Option<Digest>,
    /// What the registry has by the identity tag, where that image is not as it should be.
    pub inconsistent: Option<Digest>,
    /// The image in the engine.
    pub engine: Sighting,
    /// The ids of the image that counts; `None` where there is none, or they are not known.
    pub ids: Option<ImageIds>,
}

impl Draft<'_> {
    /// Returns the images that are still to be described, by their digests: those in registries that the engine
    /// does not have as well.
    pub fn undescribed(&self, inventory: &Inventory) -> Vec<ImageReference> {
        if self.options.trust_commit {
            return Vec::new();
        }
        let asked = self.candidates.iter();
        inventory.undescribed(asked.map(Candidate::registry_image))
    }

    /// Returns the identity tags that registries are asked for once it is known that the images of the commits' tags
    /// are not as they should be: the image may be there all the same.
    pub fn identities(&self, inventory: &Inventory, folders: &Folders) -> Vec<ImageReference> {
        if self.options.trust_commit {
            return Vec::new();
        }
        let survey = self.survey(inventory, folders);
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
                Sighting::Absent | Sighting::OfWorkingCopy | Sighting::Found(Standing::Stale(_))
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

    /// Returns the names that never move of the images that are as good as the one a build makes today.
    fn identities_of(
        &self,
        candidate: &Candidate<'_>,
        recipe: &Recipe,
    ) -> impl Iterator<Item = ImageReference> {
        let untested = (!self.options.test).then(|| recipe.without(TESTS));
        let recipes = std::iter::once(recipe.clone()).chain(untested);
        recipes.map(|recipe| candidate.identity(&recipe))
    }

    /// Compares the image of each service with its recipe. With `--trust-commit` nothing is compared,
    /// and there are no recipes: what exists counts as verified.
    ///
    /// # Errors
    ///
    /// A build argument or a variable that cannot be rendered.
    pub fn compare(
        &self,
        inventory: &Inventory,
        folders: &Folders,
    ) -> Result<Compared, ManifestError> {
        if self.options.trust_commit {
            let comparisons = self.comparisons(&BTreeMap::new(), inventory);
            return Ok(Compared {
                comparisons,
                recipes: BTreeMap::new(),
            });
        }
        self.compare_all(inventory, folders)
    }

    /// Compares as [`Draft::compare`] does, whatever is trusted.
    pub(super) fn compare_all(
        &self,
        inventory: &Inventory,
        folders: &Folders,
    ) -> Result<Compared, ManifestError> {
        let recipes = self.recipes(&self.services(), folders)?;
        Ok(Compared {
            comparisons: self.comparisons(&recipes, inventory),
            recipes,
        })
    }

    fn comparisons(
        &self,
        recipes: &BTreeMap<ServiceName, Recipe>,
        inventory: &Inventory,
    ) -> BTreeMap<ServiceName, Comparison> {
        let mut comparisons = BTreeMap::new();
        // Each comes after those that it needs.
        for candidate in &self.candidates {
            let name = &candidate.service.name;
            let comparison = self.comparison(candidate, recipes.get(name), inventory, &comparisons);
            comparisons.insert(name.clone(), comparison);
        }
        comparisons
    }

    /// Compares as [`Draft::compare`] does, each service for itself: what cannot be rendered, and a builder
    /// that cannot be read, concern only the services that take part in them.
    pub fn survey(&self, inventory: &Inventory, folders: &Folders) -> Survey {
        let (mut recipes, mut problems) = (BTreeMap::new(), Vec::new());
        // Each comes after those that it needs.
        for candidate in &self.candidates {
            let name = &candidate.service.name;
            let is_read = |unit: Unit| match unit {
                Unit::Builder(_) => folders.contains_key(&unit),
                _ => true,
            };
            let mut needs = candidate.service.needs.iter();
            let is_known = needs.all(|need| recipes.contains_key(need))
                && builder_unit(candidate).is_none_or(is_read);
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
        Survey {
            comparisons: comparisons.collect(),
            recipes,
            problems,
        }
    }

    fn comparison(
        &self,
        candidate: &Candidate<'_>,
        recipe: Option<&Recipe>,
        inventory: &Inventory,
        earlier: &BTreeMap<ServiceName, Comparison>,
    ) -> Comparison {
        let inputs = |labels: Option<&Labels>| same_inputs(candidate, labels, earlier);
        let today = recipe.map(ToString::to_string);
        let standing = |labels: Option<&Labels>| {
            let label = labels.and_then(|labels| labels.get(LABEL_RECIPE));
            // Most images are what they would be built from today, which is told without reading the label.
            if today.is_some() && label == today.as_ref() {
                return Sighting::Found(inputs(labels));
            }
            let before = label.and_then(|label| label.parse::<Recipe>().ok());
            let of_working_copy = before.is_some_and(|before| before.is_of_working_copy());
            if of_working_copy && !candidate.is_local {
                return Sighting::OfWorkingCopy;
            }
            let Some(recipe) = recipe.cloned() else {
                return Sighting::Found(Standing::Verified);
            };
            // Whoever builds a working copy is content with an image of it, and with one of its commit.
            let recipe = match of_working_copy {
                true => recipe.of_working_copy(),
                false => recipe,
            };
            let ignored = (!self.options.test).then_some(TESTS);
            match Standing::of(label.map(String::as_str), &recipe, ignored) {
                Ok(Standing::Verified) => Sighting::Found(inputs(labels)),
                Ok(standing) => Sighting::Found(standing),
                Err(invalid) => Sighting::Damaged(invalid),
            }
        };
        let in_registry = |image: &ImageReference| match inventory.registry.get(image) {
            None => (Sighting::NotAsked, None),
            Some(Presence::Absent) => (Sighting::Absent, None),
            Some(Presence::Unknown(refusal)) => (Sighting::Unknown(refusal.clone()), None),
            Some(Presence::Present(digest)) => {
                let sighting = match (labels_of(candidate, digest, inventory), recipe) {
                    (_, None) => standing(None),
                    (Some(Ok(labels)), _) => standing(Some(labels)),
                    (Some(Err(refusal)), _) => Sighting::Unknown(refusal.clone()),
                    // Nobody asked for the labels: nothing is known against the image.
                    (None, Some(_)) => Sighting::Found(Standing::Unverified),
                };
                (sighting, Some(digest.clone()))
            }
        };
        let (registry, digest) = in_registry(&candidate.registry_image());
        let mut comparison = Comparison {
            registry,
            by_commit: digest.clone().filter(|_| candidate.pinned.is_none()),
            digest,
            identity: None,
            inconsistent: None,
            engine: match inventory.in_engine(&candidate.image) {
                None => Sighting::Absent,
                Some(image) => standing(Some(&image.labels)),
            },
            ids: None,
        };
        let counts = |sighting: &Sighting| {
            matches!(
                sighting,
                Sighting::Found(Standing::Verified | Standing::Unverified)
            )
        };
        let identities = recipe.map(|recipe| self.identities_of(candidate, recipe));
        for identity in identities.into_iter().flatten() {
            if counts(&comparison.registry) || candidate.pinned.is_some() {
                break;
            }
            match in_registry(&identity) {
                (Sighting::Found(Standing::Verified), digest) => {
                    comparison.registry = Sighting::Found(Standing::Verified);
                    comparison.digest = digest;
                    comparison.identity = identity.tag().cloned();
                }
                // What cannot be told is no reason to build.
                (unknown @ Sighting::Unknown(_), _) => comparison.registry = unknown,
                (Sighting::NotAsked | Sighting::Absent, _) => {}
                (_, digest) => comparison.inconsistent = digest,
            }
        }
        if recipe.is_some() {
            let published = comparison.digest.as_ref();
            let is_pinned = candidate.pinned.is_some();
            let published = published.filter(|_| is_pinned || counts(&comparison.registry));
            let image = inventory.in_engine(&candidate.image);
            match published {
                Some(digest) if !candidate.is_local => {
                    let ids = published_ids(candidate, digest, inventory);
                    // Two runners may have built it at the same time: the registry's image is the one.
                    let is_other = |image: &EngineImage| {
                        ids.as_ref().is_some_and(|ids| !ids.contains(&image.id))
                    };
                    if counts(&comparison.engine) && !is_pinned && image.is_some_and(is_other) {
                        let other = Standing::Stale(vec![Change::of_image()]);
                        comparison.engine = Sighting::Found(other);
                    }
                    comparison.ids = ids;
                }
                _ if counts(&comparison.engine) => {
                    comparison.ids = image.map(|image| ImageIds::new([image.id.as_str()]));
                }
                _ => {}
            }
        }
        comparison
    }
}

/// What comparing comes to.
#[derive(Debug)]
pub struct Compared {
    /// How each service's image stands.
    pub comparisons: BTreeMap<ServiceName, Comparison>,
    /// What each would be built from today; empty with `--trust-commit`.
    pub recipes: BTreeMap<ServiceName, Recipe>,
}

/// What can be told of images without all that a build needs.
#[derive(Debug)]
pub struct Survey {
    /// How each service's image stands, and whether it was compared: without a recipe, what is there
    /// counts as found, and nothing else is known of it.
    pub comparisons: BTreeMap<ServiceName, (Comparison, bool)>,
    /// What each of those that were compared would be built from today.
    pub recipes: BTreeMap<ServiceName, Recipe>,
    /// Why some were not compared.
    pub problems: Vec<ManifestError>,
}

impl Sighting {
    /// Says what was found, such as `verified`.
    pub(super) fn in_words(&self) -> String {
        match self {
            Self::NotAsked => "no registry".to_owned(),
            Self::Absent => "absent".to_owned(),
            Self::Unknown(refusal) => format!("unknown: {}", refusal.why),
            Self::Damaged(invalid) => format!("unknown: {invalid}"),
            Self::OfWorkingCopy => "built from a working copy by --local".to_owned(),
            Self::Found(Standing::Verified) => "verified".to_owned(),
            Self::Found(Standing::Unverified) => {
                "unverified: it does not say what it was built from".to_owned()
            }
            Self::Found(Standing::Stale(changes)) => {
                let changes: Vec<String> = changes.iter().map(ToString::to_string).collect();
                format!("stale: {}", changes.join(", "))
            }
        }
    }
}

/// Returns the standing of an image whose recipe matches. It may still belong to another commit, under this commit's tag,
/// or have been built from other images of the needed services; its labels show both.
fn same_inputs(
    candidate: &Candidate<'_>,
    labels: Option<&Labels>,
    earlier: &BTreeMap<ServiceName, Comparison>,
) -> Standing {
    let revision = labels.and_then(|labels| labels.get(LABEL_REVISION));
    if revision.is_some_and(|revision| *revision != candidate.source.commit.to_string()) {
        return Standing::Stale(vec![Change::of_commit()]);
    }
    if candidate.pinned.is_some() {
        return Standing::Verified;
    }
    built_from::standing(candidate, labels, earlier)
}

/// Returns the ids of an image that the registry has; `None` where they are not known.
fn published_ids(
    candidate: &Candidate<'_>,
    digest: &Digest,
    inventory: &Inventory,
) -> Option<ImageIds> {
    let by_digest = candidate.image.repository().with_digest(digest.clone());
    let in_engine = inventory.in_engine(&by_digest).map(|it| it.id.as_str());
    let described = inventory
        .published
        .get(digest)
        .and_then(|it| it.as_ref().ok());
    let config = described
        .and_then(|it| it.config.as_ref())
        .map(Digest::as_str);
    let other = in_engine.or(config)?;
    Some(ImageIds::new([digest.as_str(), other]))
}

/// Returns the labels of an image of the registry, or why they are not known; `None` if they were not requested.
pub(super) fn labels_of<'i>(
    candidate: &Candidate<'_>,
    digest: &Digest,
    inventory: &'i Inventory,
) -> Option<Result<&'i Labels, &'i Refusal>> {
    let by_digest = candidate.image.repository().with_digest(digest.clone());
    let in_engine = inventory.in_engine(&by_digest);
    in_engine.map(|image| Ok(&image.labels)).or_else(|| {
        let described = inventory.published.get(digest)?;
        Some(described.as_ref().map(|image| &image.labels))
    })
}
