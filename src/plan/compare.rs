//! How the images that exist stand to today's inputs.

use std::collections::{BTreeMap, BTreeSet};

use super::decide::builder_unit;
use super::draft::{Candidate, Draft};
use super::recipe::{Folders, TESTS};
use super::{Inventory, Presence, Refusal};
use crate::event::Unit;
use crate::image::{Digest, ImageReference, Labels};
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
    /// The image in the registry.
    pub registry: Sighting,
    /// The digest that the registry has it by.
    pub digest: Option<Digest>,
    /// The image in the engine.
    pub engine: Sighting,
}

impl Draft<'_> {
    /// Returns the images whose labels are still to be asked for, by their digests: those in registries
    /// that the engine does not have as well.
    pub fn unlabelled(&self, inventory: &Inventory) -> Vec<ImageReference> {
        if self.options.trust_commit {
            return Vec::new();
        }
        let unlabelled: BTreeSet<ImageReference> = self
            .candidates
            .iter()
            .filter(|candidate| registry_labels(candidate, inventory).is_none())
            .filter_map(|candidate| match inventory.registry.get(&candidate.image) {
                Some(Presence::Present(digest)) => {
                    Some(candidate.image.repository().with_digest(digest.clone()))
                }
                _ => None,
            })
            .collect();
        unlabelled.into_iter().collect()
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
        let services = self
            .candidates
            .iter()
            .map(|candidate| candidate.service.name.clone());
        let recipes = match self.options.trust_commit {
            true => BTreeMap::new(),
            false => self.recipes(&services.collect(), folders)?,
        };
        let comparisons = self.candidates.iter().map(|candidate| {
            let name = &candidate.service.name;
            let comparison = self.comparison(candidate, recipes.get(name), inventory);
            (name.clone(), comparison)
        });
        Ok(Compared {
            comparisons: comparisons.collect(),
            recipes,
        })
    }

    /// Compares as [`Draft::compare`] does, each service for itself: what cannot be rendered, and a builder
    /// that cannot be read, concern only the services that take part in them.
    pub fn survey(&self, inventory: &Inventory, folders: &Folders) -> Survey {
        let (mut recipes, mut problems) = (BTreeMap::new(), Vec::new());
        let mut comparisons = BTreeMap::new();
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
            let recipe = recipes.get(name);
            let comparison = self.comparison(candidate, recipe, inventory);
            comparisons.insert(name.clone(), (comparison, recipe.is_some()));
        }
        Survey {
            comparisons,
            problems,
        }
    }

    pub(super) fn comparison(
        &self,
        candidate: &Candidate<'_>,
        recipe: Option<&Recipe>,
        inventory: &Inventory,
    ) -> Comparison {
        let today = recipe.map(ToString::to_string);
        let standing = |labels: Option<&Labels>| {
            let label = labels.and_then(|labels| labels.get(LABEL_RECIPE));
            // Most images are what they would be built from today, which is told without reading the label.
            if today.is_some() && label == today.as_ref() {
                return Sighting::Found(same_inputs(candidate, labels));
            }
            let earlier = label.and_then(|label| label.parse::<Recipe>().ok());
            let of_working_copy = earlier.is_some_and(|earlier| earlier.is_of_working_copy());
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
                Ok(Standing::Verified) => Sighting::Found(same_inputs(candidate, labels)),
                Ok(standing) => Sighting::Found(standing),
                Err(invalid) => Sighting::Damaged(invalid),
            }
        };
        let mut found = None;
        let registry = match inventory.registry.get(&candidate.image) {
            None => Sighting::NotAsked,
            Some(Presence::Absent) => Sighting::Absent,
            Some(Presence::Unknown(refusal)) => Sighting::Unknown(refusal.clone()),
            Some(Presence::Present(digest)) => {
                found = Some(digest.clone());
                match (labels_of(candidate, digest, inventory), recipe) {
                    (_, None) => standing(None),
                    (Some(Ok(labels)), _) => standing(Some(labels)),
                    (Some(Err(refusal)), _) => Sighting::Unknown(refusal.clone()),
                    // Nobody asked for the labels: nothing is known against the image.
                    (None, Some(_)) => Sighting::Found(Standing::Unverified),
                }
            }
        };
        let engine = match inventory.in_engine(&candidate.image) {
            None => Sighting::Absent,
            Some(image) => standing(Some(&image.labels)),
        };
        Comparison {
            registry,
            digest: found,
            engine,
        }
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
            Self::Found(Standing::Unverified) => "unverified: it has no recipe".to_owned(),
            Self::Found(Standing::Stale(changes)) => {
                let changes: Vec<String> = changes.iter().map(ToString::to_string).collect();
                format!("stale: {}", changes.join(", "))
            }
        }
    }
}

/// Returns how an image stands whose recipe is today's: somebody may have given the commit's tag to the image of
/// another commit, which its labels tell.
fn same_inputs(candidate: &Candidate<'_>, labels: Option<&Labels>) -> Standing {
    let revision = labels.and_then(|labels| labels.get(LABEL_REVISION));
    match revision.is_some_and(|revision| *revision != candidate.source.commit.to_string()) {
        true => Standing::Stale(vec![Change::of_commit()]),
        false => Standing::Verified,
    }
}

/// Returns the labels of the registry's image, or why they cannot be had; none where nobody asked.
pub(super) fn registry_labels<'i>(
    candidate: &Candidate<'_>,
    inventory: &'i Inventory,
) -> Option<Result<&'i Labels, &'i Refusal>> {
    let Some(Presence::Present(digest)) = inventory.registry.get(&candidate.image) else {
        return None;
    };
    labels_of(candidate, digest, inventory)
}

fn labels_of<'i>(
    candidate: &Candidate<'_>,
    digest: &Digest,
    inventory: &'i Inventory,
) -> Option<Result<&'i Labels, &'i Refusal>> {
    let by_digest = candidate.image.repository().with_digest(digest.clone());
    let in_engine = inventory.in_engine(&by_digest);
    in_engine
        .map(|image| Ok(&image.labels))
        .or_else(|| inventory.labels.get(digest).map(Result::as_ref))
}
