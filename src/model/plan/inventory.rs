//! The images that registries and the engine have.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::model::image::{
    Digest, EngineImage, EngineImages, ImageReference, ImageRepository, Platform, PublishedImage,
};

/// Whether a registry has an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Presence {
    /// It has the image, with this digest.
    Present(Digest),
    /// The registry itself reported that it has no such image.
    Absent,
    /// The query failed. Must never be treated as [`Presence::Absent`].
    Unknown(QueryFailure),
}

/// Why a query to a registry failed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct QueryFailure {
    /// What went wrong, including the causes. The same text for all images affected by it.
    pub why: String,
    /// How to fix it.
    pub hints: Vec<String>,
}

impl QueryFailure {
    /// Returns the hints of several failures, without duplicates.
    pub fn hints_of<'r>(refusals: impl IntoIterator<Item = &'r Self>) -> Vec<String> {
        let mut hints: Vec<String> = Vec::new();
        for hint in refusals.into_iter().flat_map(|refusal| &refusal.hints) {
            if !hints.contains(hint) {
                hints.push(hint.clone());
            }
        }
        hints
    }
}

/// The results of the queries to registries and the engine.
#[derive(Debug, Clone, Default)]
pub struct Inventory {
    /// The responses of the registries, by reference.
    pub registry: BTreeMap<ImageReference, Presence>,
    /// Descriptions of images in registries, by digest, or why there is none. Images that are also in the engine are
    /// not queried.
    pub published: HashMap<Digest, Result<PublishedImage, QueryFailure>>,
    /// The responses of the registries of base images, with `--refresh-bases`.
    pub bases: BTreeMap<ImageReference, Presence>,
    /// References to images that are incomplete in their registry and therefore count as [`Presence::Absent`].
    pub incomplete: BTreeSet<ImageReference>,
    /// Images in registries that cannot be used, by digest, with the end of a sentence about them. They count as
    /// [`Presence::Absent`].
    pub rejected: BTreeMap<ImageReference, String>,
    /// The queried images that the engine has.
    pub engine: EngineImages,
    /// The names in the engine of images that do not have their own name yet. [`Inventory::engine`] has them under
    /// their own name.
    pub other_names: BTreeMap<ImageReference, ImageReference>,
    /// The engine's own platform; `None` if it is unknown, or if no image is for several platforms.
    pub engine_platform: Option<Platform>,
}

impl Inventory {
    /// Returns, by digest, the given images that registries have and that lack a description.
    pub fn undescribed(
        &self,
        images: impl IntoIterator<Item = ImageReference>,
    ) -> Vec<ImageReference> {
        let mut images = self.unread(images);
        images.retain(|by_digest| self.in_engine(by_digest).is_none());
        images
    }

    /// Like [`Inventory::undescribed`], with those that the engine has: it has only one image of an index.
    pub fn unread(&self, images: impl IntoIterator<Item = ImageReference>) -> Vec<ImageReference> {
        let images = images.into_iter().filter_map(|image| {
            let Some(Presence::Present(digest)) = self.registry.get(&image) else {
                return None;
            };
            let is_known = self.published.contains_key(digest);
            (!is_known).then(|| image.repository().with_digest(digest.clone()))
        });
        let images: BTreeSet<ImageReference> = images.collect();
        images.into_iter().collect()
    }

    /// Returns whether the engine runs an image with these platforms: without any, an image is for every engine.
    pub fn runs(&self, platforms: &[Platform]) -> bool {
        let own = self.engine_platform.as_ref();
        platforms.is_empty() || own.is_none_or(|own| platforms.contains(own))
    }

    /// Records that an image in a registry, given by its digest, lacks some of its blobs. It cannot be used, so it
    /// counts as absent under all its names.
    pub fn mark_incomplete(&mut self, image: &ImageReference) {
        for (name, presence) in &mut self.registry {
            let is_same = name.repository() == image.repository()
                && matches!(presence, Presence::Present(digest) if Some(&*digest) == image.digest());
            if is_same {
                *presence = Presence::Absent;
                self.incomplete.insert(name.clone());
            }
        }
    }

    /// Records that an image in a registry, given by its digest, cannot be used, because it does not verify or lacks what
    /// should be attached to it; `why` ends the sentence "the registry's image …". It counts as absent under all its
    /// names; and so does the engine's copy, which may have been pulled from there.
    pub fn reject(&mut self, image: &ImageReference, why: String) {
        let mut names = vec![image.clone()];
        for (name, presence) in &mut self.registry {
            let is_same = name.repository() == image.repository()
                && matches!(presence, Presence::Present(digest) if Some(&*digest) == image.digest());
            if is_same {
                *presence = Presence::Absent;
                names.push(name.clone());
            }
        }
        for name in names {
            if let Some(id) = self.in_engine(&name).map(|copy| copy.id.clone()) {
                self.engine.retain(|_, copy| copy.id != id);
            }
        }
        self.rejected.insert(image.clone(), why);
    }

    /// Returns the digests of images in a repository that cannot be used.
    pub fn rejected_of(&self, repository: &ImageRepository) -> Vec<Digest> {
        let rejected = self.rejected.keys();
        let rejected = rejected.filter(|image| image.repository() == repository);
        rejected
            .filter_map(|image| image.digest().cloned())
            .collect()
    }

    /// Returns why an image in a repository cannot be used.
    pub fn rejection(&self, repository: &ImageRepository) -> Option<&str> {
        let mut rejected = self.rejected.iter();
        let found = rejected.find(|(image, _)| image.repository() == repository);
        found.map(|(_, why)| why.as_str())
    }

    /// Returns what identifies the engine's image with that name on any machine: its digest in its registry; or else,
    /// on this machine, its ID.
    pub fn engine_identity(&self, image: &ImageReference) -> Option<String> {
        let found = self.in_engine(image)?;
        let first = self.digests_of(image, found).min();
        Some(first.unwrap_or_else(|| found.id.clone()))
    }

    /// Returns whether an identity is that of the engine's image with that name. An image that several indexes list has
    /// several.
    pub fn has_identity(&self, image: &ImageReference, identity: &str) -> bool {
        let found = self.in_engine(image);
        found.is_some_and(|found| {
            found.id == identity || self.digests_of(image, found).any(|it| it == identity)
        })
    }

    /// Returns the digests by which the engine pulled or pushed an image, in the repository of a name.
    fn digests_of(
        &self,
        image: &ImageReference,
        found: &EngineImage,
    ) -> impl Iterator<Item = String> {
        let same = self.engine.iter().filter(|(_, other)| other.id == found.id);
        same.filter_map(|(name, _)| {
            let (_, digest) = name.split_once('@')?;
            let digest: Digest = digest.parse().ok()?;
            let by_digest = image.repository().with_digest(digest.clone());
            self.in_engine(&by_digest).map(|_| digest.to_string())
        })
    }

    /// Returns the engine's image with that name.
    pub fn in_engine(&self, image: &ImageReference) -> Option<&EngineImage> {
        let name = image.familiar_name();
        let found = self.engine.get(&name);
        let registry = image.repository().registry();
        if registry.is_some_and(|registry| name.starts_with(registry.as_str())) {
            return found;
        }
        // Podman spells out the default registry and names local builds `localhost/…`.
        found.or_else(|| {
            let hub = if name.contains('/') {
                "docker.io"
            } else {
                "docker.io/library"
            };
            let full_names = [hub, "localhost"].map(|registry| format!("{registry}/{name}"));
            full_names.iter().find_map(|name| self.engine.get(name))
        })
    }
}
