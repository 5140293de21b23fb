//! Images that the engine has under another name, because a service, its image or the registry was renamed.
//!
//! Such an image gets the new name instead of being built again, if its labels prove that it was built by xp from the
//! same commit, the same inputs and the current needed images. Labels can be forged, and the engine may have pulled an
//! image from anywhere. So only names that the manifest's author could have chosen are considered: next to the
//! service's image, below the manifest's `registry`, or used by this platform before. The image of another service of
//! the manifest is never used: with the same inputs, its scripts may still have built something else.

use std::collections::{BTreeMap, BTreeSet};

use super::compare::{ImageComparison, ImageLookup};
use super::draft::{PlanCandidate, PlanDraft};
use super::recipe::Folders;
use super::{Inventory, Presence};
use crate::model::image::{
    EngineImage, EngineImages, ImageReference, ImageRepository, RegistryPrefix, Tag,
};
use crate::model::manifest::{ManifestError, ServiceName};
use crate::model::recipe::{LABEL_REVISION, LABEL_SERVICE, RecipeStatus};

/// The maximum number of components of a name that is found, including the registry.
const MAX_COMPONENTS: usize = 6;

/// What Podman adds to names without a registry.
const PODMAN_PREFIXES: [&str; 3] = ["localhost/", "docker.io/library/", "docker.io/"];

impl PlanDraft<'_> {
    /// Returns patterns for the other names that missing images may have, in the syntax of the engine's filter
    /// `reference`. Empty if no image is missing, so that a plan with nothing to build costs no request.
    pub fn other_names(&self, inventory: &Inventory) -> BTreeSet<String> {
        let candidates = self.candidates.iter();
        let missing = candidates.filter(|it| self.is_missing(it, inventory));
        let tags: BTreeSet<&Tag> = missing.filter_map(|it| it.image.tag()).collect();
        let patterns = tags.into_iter().flat_map(|tag| {
            // `*` does not match a slash.
            (1..=MAX_COMPONENTS).map(move |count| format!("{}:{tag}", vec!["*"; count].join("/")))
        });
        patterns.collect()
    }

    /// Adds the engine's images with other names to the inventory, under the names that they should have. `found` has
    /// the images that match [`PlanDraft::other_names`].
    ///
    /// # Errors
    ///
    /// A build argument or a variable cannot be rendered.
    pub fn adopt_other_names(
        &self,
        found: &EngineImages,
        former: &BTreeSet<ImageRepository>,
        inventory: &mut Inventory,
        folders: &Folders,
    ) -> Result<(), ManifestError> {
        if found.is_empty() {
            return Ok(());
        }
        let found: BTreeMap<&String, &EngineImage> = found.iter().collect();
        let services = self.manifest.services.values();
        let current: BTreeSet<&ImageRepository> = services.map(|it| &it.docker.image).collect();
        let recipes = self.recipes(&self.services(), folders)?;
        let mut comparisons: BTreeMap<ServiceName, ImageComparison> = BTreeMap::new();
        // Candidates are in dependency order: an image is compared with the needed ones that were just found.
        for candidate in &self.candidates {
            let recipe = recipes.get(&candidate.service.name);
            let compare =
                |inventory: &Inventory| self.comparison(candidate, recipe, inventory, &comparisons);
            let mut comparison = compare(inventory);
            if self.is_missing(candidate, inventory)
                && comparison.registry.recipe_status().is_none()
            {
                for (name, image) in &found {
                    let other = self.other_name(candidate, name, former);
                    let Some(other) = other.filter(|it| !current.contains(it.repository())) else {
                        continue;
                    };
                    let own = candidate.image.familiar_name();
                    inventory.engine.insert(own.clone(), (*image).clone());
                    let renamed = compare(inventory);
                    if is_built_alike(candidate, image, &renamed, &comparisons) {
                        inventory.other_names.insert(candidate.image.clone(), other);
                        comparison = renamed;
                        break;
                    }
                    inventory.engine.remove(&own);
                }
            }
            comparisons.insert(candidate.service.name.clone(), comparison);
        }
        Ok(())
    }

    /// Returns whether neither the registry nor the engine has an image of the commit under its name, and one under
    /// another name would be used.
    fn is_missing(&self, candidate: &PlanCandidate<'_>, inventory: &Inventory) -> bool {
        let is_forced = self.options.force && candidate.selected;
        let is_absent = matches!(
            inventory.registry.get(&candidate.registry_image()),
            None | Some(Presence::Absent)
        );
        !self.options.trust_commit
            && !is_forced
            && !candidate.is_local
            && candidate.pinned.is_none()
            && is_absent
            && inventory.in_engine(&candidate.image).is_none()
    }

    /// Returns the manifest's registry if it has a path and the service's image is below it. Without a path, it may be
    /// a public registry.
    fn prefix_of(&self, candidate: &PlanCandidate<'_>) -> Option<&RegistryPrefix> {
        let prefix = self.manifest.registry.as_ref()?;
        prefix.path()?;
        prefix.path_below(candidate.image.repository())?;
        Some(prefix)
    }

    /// Parses a name in the engine, if it may be another name of a service's image.
    fn other_name(
        &self,
        candidate: &PlanCandidate<'_>,
        name: &str,
        former: &BTreeSet<ImageRepository>,
    ) -> Option<ImageReference> {
        let listed: ImageReference = name.parse().ok()?;
        if listed.digest().is_some() || listed.tag() != candidate.image.tag() {
            return None;
        }
        let own = candidate.image.repository();
        let mut prefixes = PODMAN_PREFIXES.iter();
        let local = prefixes.find_map(|prefix| name.strip_prefix(prefix));
        let local = local.filter(|_| own.registry().is_none());
        let other: ImageReference = local.unwrap_or(name).parse().ok()?;
        let other = other.repository();
        let folder = |path: &str| path.rfind('/').map(|slash| path[..slash].to_owned());
        let is_sibling =
            other.registry() == own.registry() && folder(other.path()) == folder(own.path());
        let is_below = self
            .prefix_of(candidate)
            .is_some_and(|it| it.path_below(other).is_some());
        let is_trusted = is_sibling || is_below || former.contains(other);
        (is_trusted && other != own).then_some(listed)
    }
}

/// Returns whether an image was built by xp from the service's commit and current inputs. Unlike for an image with the
/// service's own name, missing labels are not enough.
fn is_built_alike(
    candidate: &PlanCandidate<'_>,
    image: &EngineImage,
    comparison: &ImageComparison,
    earlier: &BTreeMap<ServiceName, ImageComparison>,
) -> bool {
    let service = candidate.service;
    let revision = image.labels.get(LABEL_REVISION);
    let built_for = image.labels.get(LABEL_SERVICE);
    let is_of_service = built_for.is_some_and(|name| name == service.name.as_str());
    let mut needs = service.needs.iter();
    comparison.engine == ImageLookup::Found(RecipeStatus::Verified)
        // Scripts can read the name of the service.
        && (is_of_service || service.scripts.is_empty())
        && revision.is_some_and(|it| *it == candidate.source.commit.to_string())
        && needs.all(|need| earlier.get(need).is_some_and(|it| it.ids.is_some()))
}
