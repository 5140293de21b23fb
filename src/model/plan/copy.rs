//! Decides which images `xp copy` copies: those that `xp build` would then accept.
//!
//! The images are compared as if the copies were made already: a service whose image is missing has it in the
//! repository to copy from, and all others in their own.

use super::compare::{ImageComparison, ImageLookup, labels_of};
use super::draft::{PlanCandidate, PlanDraft};
use super::recipe::Folders;
use super::{Inventory, Presence, QueryFailure};
use crate::base::plural::abbreviated;
use crate::model::image::{Digest, ImageReference, ImageRepository, RegistryPrefix, Tag};
use crate::model::manifest::{Manifest, ManifestError, ServiceName};
use crate::model::recipe::{LABEL_RECIPE, PLATFORMS, Recipe, RecipeStatus};

/// The maximum number of changed inputs in a reason.
const NAMED_CHANGES: usize = 3;

/// A service's image, and whether to copy it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageCopy {
    pub service: ServiceName,
    /// The service's own repository.
    pub to: ImageRepository,
    pub state: CopyState,
}

/// Whether to copy an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CopyState {
    /// The registry has a current image.
    Present(Digest),
    /// It is copied.
    Copy(CopiedImage),
    /// The repository to copy from does not have it.
    NotFound(ImageReference),
    /// It would not be accepted.
    Unusable(String),
    /// It could not be queried.
    Unknown(QueryFailure),
}

/// An image to copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopiedImage {
    /// The image, by digest.
    pub from: ImageReference,
    /// Its tags in the new repository.
    pub tags: Vec<Tag>,
    /// The tags of the images of platforms, if it is an index.
    pub parts: Vec<(Digest, Tag)>,
    /// A tag for another image, which loses its identity tag.
    pub kept: Option<(Digest, Tag)>,
    /// Whether it does not record what it was built from.
    pub is_unverified: bool,
}

/// Returns the manifest with the repositories to copy from for some services.
///
/// They are below `prefix`. If `repository_of` is set, `prefix` is the repository of that service, and the others are
/// next to it.
pub fn copied_from(
    manifest: &Manifest,
    services: &[ServiceName],
    prefix: &RegistryPrefix,
    repository_of: Option<&ServiceName>,
) -> Manifest {
    let mut copied = manifest.clone();
    for name in services {
        let Some(service) = copied.services.get_mut(name) else {
            continue;
        };
        let image = &service.docker.image;
        let own = manifest.registry.as_ref();
        let path = own.and_then(|own| own.path_below(image));
        let path = path.unwrap_or_else(|| image.path());
        let from = match repository_of {
            Some(of) if of == name => prefix.as_repository(),
            Some(_) => prefix.parent().map(|parent| parent.below(path)),
            None => Some(prefix.below(path)),
        };
        if let Some(from) = from {
            service.docker.image = from;
        }
    }
    copied
}

impl PlanDraft<'_> {
    /// Returns the services whose registry has no current image, in dependency order, with the failure if that is
    /// unknown. Services without a registry are omitted.
    ///
    /// # Errors
    ///
    /// A build argument or a variable cannot be rendered.
    pub fn to_copy(
        &self,
        inventory: &Inventory,
        folders: &Folders,
    ) -> Result<Vec<ServiceName>, ManifestError> {
        let compared = self.compare(inventory, folders)?.comparisons;
        let candidates = self.candidates.iter();
        let missing = candidates.filter(|candidate| {
            let comparison = compared.get(&candidate.service.name);
            candidate.image.repository().registry().is_some()
                && comparison.is_some_and(|it| !it.registry.is_usable())
                && !comparison.is_some_and(|it| matches!(it.registry, ImageLookup::Unknown(_)))
        });
        Ok(missing.map(|it| it.service.name.clone()).collect())
    }

    /// Decides what to copy. This draft has the repositories to copy from for the services in `missing`, and
    /// `inventory` has both registries; `own` is the draft with the services' own repositories.
    ///
    /// # Errors
    ///
    /// A build argument or a variable cannot be rendered.
    pub fn copies(
        &self,
        own: &PlanDraft<'_>,
        missing: &[ServiceName],
        inventory: &Inventory,
        folders: &Folders,
    ) -> Result<Vec<ImageCopy>, ManifestError> {
        let compared = self.compare(inventory, folders)?.comparisons;
        let before = own.compare(inventory, folders)?.comparisons;
        let mut copies: Vec<ImageCopy> = Vec::new();
        for candidate in &self.candidates {
            let name = &candidate.service.name;
            let (Some(comparison), Some(target)) = (compared.get(name), own.candidate(name)) else {
                continue;
            };
            let to = target.image.repository();
            if to.registry().is_none() {
                continue;
            }
            let built = |need: &&ServiceName| {
                let copy = copies.iter().find(|copy| copy.service == **need);
                copy.is_some_and(|it| {
                    !matches!(it.state, CopyState::Present(_) | CopyState::Copy(_))
                })
            };
            let state = if missing.contains(name) {
                let need = candidate.service.needs.iter().find(built);
                let need = need.filter(|_| candidate.pinned.is_none());
                self.state(
                    candidate,
                    target,
                    comparison,
                    before.get(name),
                    need,
                    inventory,
                )
            } else {
                match (&comparison.registry, &comparison.digest) {
                    (ImageLookup::Unknown(failure), _) => CopyState::Unknown(failure.clone()),
                    (_, Some(digest)) => CopyState::Present(digest.clone()),
                    (lookup, None) => CopyState::Unusable(lookup.describe()),
                }
            };
            copies.push(ImageCopy {
                service: name.clone(),
                to: to.clone(),
                state,
            });
        }
        Ok(copies)
    }

    fn state(
        &self,
        candidate: &PlanCandidate<'_>,
        target: &PlanCandidate<'_>,
        comparison: &ImageComparison,
        before: Option<&ImageComparison>,
        built: Option<&ServiceName>,
        inventory: &Inventory,
    ) -> CopyState {
        let digest = match (&comparison.registry, &comparison.digest) {
            (ImageLookup::Found(RecipeStatus::Stale(changes)), _) => {
                return CopyState::Unusable(abbreviated(changes, NAMED_CHANGES));
            }
            (ImageLookup::Found(_), Some(digest)) => digest,
            (ImageLookup::Unknown(failure), _) => return CopyState::Unknown(failure.clone()),
            (ImageLookup::Absent | ImageLookup::NotQueried, _) | (_, None) => {
                return CopyState::NotFound(candidate.registry_image());
            }
            (lookup, _) => return CopyState::Unusable(lookup.describe()),
        };
        if let Some(need) = built {
            return CopyState::Unusable(format!("{need} must be built"));
        }
        let identity = identity(candidate, target, digest, inventory);
        let has = |image: &ImageReference| {
            matches!(inventory.registry.get(image), Some(Presence::Present(_)))
        };
        // A lock pins the image, whatever the tags of the commit point to.
        let may_move = |image: &ImageReference| candidate.pinned.is_none() || !has(image);
        let own = Some(target.image.clone()).filter(may_move);
        let tags = own.into_iter().chain(identity.clone().filter(may_move));
        let mut tags: Vec<Tag> = tags.filter_map(|image| image.tag().cloned()).collect();
        if tags.is_empty() {
            // Without any tag, a clean-up of the registry would remove it.
            let tag = identity.as_ref().and_then(ImageReference::tag);
            tags.extend(tag.map(|tag| tag.superseded(digest)));
        }
        let identity_tag = identity.as_ref().and_then(|it| it.tag());
        let parts = identity_tag.filter(|tag| tags.contains(tag));
        let parts = parts.map(|tag| tags_of_parts(candidate, digest, tag, inventory));
        let replaced = before.and_then(|before| before.inconsistent.clone());
        let replaced = replaced.filter(|replaced| replaced != digest);
        let kept = replaced.zip(identity.as_ref().and_then(|it| it.tag().cloned()));
        CopyState::Copy(CopiedImage {
            from: candidate.image.repository().with_digest(digest.clone()),
            tags,
            parts: parts.unwrap_or_default(),
            kept: kept.map(|(replaced, tag)| {
                let tag = tag.superseded(&replaced);
                (replaced, tag)
            }),
            is_unverified: comparison.registry == ImageLookup::Found(RecipeStatus::Unverified),
        })
    }

    /// Returns the tags of pinned images to query in the services' own repositories: they are set only if they are
    /// free.
    pub fn pinned_tags(&self, own: &PlanDraft<'_>, inventory: &Inventory) -> Vec<ImageReference> {
        let pinned = self.candidates.iter().filter_map(|candidate| {
            let target = own.candidate(&candidate.service.name)?;
            let identity = identity(candidate, target, candidate.pinned?, inventory);
            Some(std::iter::once(target.image.clone()).chain(identity))
        });
        pinned.flatten().collect()
    }
}

/// Returns the identity tag of an image in the repository that it is copied to.
fn identity(
    candidate: &PlanCandidate<'_>,
    target: &PlanCandidate<'_>,
    digest: &Digest,
    inventory: &Inventory,
) -> Option<ImageReference> {
    let labels = labels_of(candidate, digest, inventory)?.ok()?;
    let mut recipe: Recipe = labels.get(LABEL_RECIPE)?.parse().ok()?;
    // That of an image in an index may be from before other platforms were added.
    if candidate.pinned.is_none() {
        recipe = recipe.without(PLATFORMS);
        if let Some(platforms) = candidate.platforms_input() {
            recipe.add(PLATFORMS, &platforms);
        }
    }
    Some(target.identity(&recipe))
}

/// Returns the tags with which a build pushes the images of an index: they protect these in registries that remove images
/// without a tag.
fn tags_of_parts(
    candidate: &PlanCandidate<'_>,
    digest: &Digest,
    identity: &Tag,
    inventory: &Inventory,
) -> Vec<(Digest, Tag)> {
    let published = inventory.published.get(digest);
    let index = published.and_then(|found| found.as_ref().ok());
    let images = index.into_iter().flat_map(|index| &index.images);
    let images = images.filter(|image| candidate.platforms().contains(&image.platform));
    images
        .map(|image| (image.digest.clone(), identity.for_platform(&image.platform)))
        .collect()
}

impl CopyState {
    /// Returns the state in one or two words.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Present(_) => "present",
            Self::Copy(_) => "to copy",
            Self::NotFound(_) => "not found",
            Self::Unusable(_) => "out of date",
            Self::Unknown(_) => "unknown",
        }
    }

    /// Returns the digest of the image, if it is usable.
    pub fn digest(&self) -> Option<&Digest> {
        match self {
            Self::Present(digest) => Some(digest),
            Self::Copy(image) => image.from.digest(),
            _ => None,
        }
    }
}
