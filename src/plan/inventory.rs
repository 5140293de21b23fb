//! What registries and the engine have.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::image::{Digest, EngineImage, EngineImages, ImageReference, PublishedImage};

/// What a registry said about one reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Presence {
    /// It has the reference, with this digest.
    Present(Digest),
    /// It said itself that it has no such image.
    Absent,
    /// It could not be told. Never to be taken for [`Presence::Absent`].
    Unknown(Refusal),
}

/// Why a registry could not tell whether it has an image.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Refusal {
    /// What went wrong, the causes included. The same for all images that it keeps from being told.
    pub why: String,
    /// What a person can do about it.
    pub hints: Vec<String>,
}

impl Refusal {
    /// Returns the hints of several refusals, each once.
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

/// What was found of the references that were asked for.
#[derive(Debug, Clone, Default)]
pub struct Inventory {
    /// What the registries said, by reference.
    pub registry: BTreeMap<ImageReference, Presence>,
    /// Images of registries, by digest, or why they cannot be described; those that the engine has as well
    /// are not asked for.
    pub published: HashMap<Digest, Result<PublishedImage, Refusal>>,
    /// The references whose images lack a part in their registry, and so are [`Presence::Absent`].
    pub incomplete: BTreeSet<ImageReference>,
    /// The images of the engine: of those that it was asked for, the ones that it has.
    pub engine: EngineImages,
}

impl Inventory {
    /// Returns those of these references that registries have and that are still to be described, by their digests.
    pub fn undescribed(
        &self,
        images: impl IntoIterator<Item = ImageReference>,
    ) -> Vec<ImageReference> {
        let images = images.into_iter().filter_map(|image| {
            let Some(Presence::Present(digest)) = self.registry.get(&image) else {
                return None;
            };
            let by_digest = image.repository().with_digest(digest.clone());
            let is_known =
                self.published.contains_key(digest) || self.in_engine(&by_digest).is_some();
            (!is_known).then_some(by_digest)
        });
        let images: BTreeSet<ImageReference> = images.collect();
        images.into_iter().collect()
    }

    /// Notes that a registry has an image, named by its digest, without all that the image lists: nobody can use
    /// that, so the image is absent by all its names.
    pub fn lacks_part_of(&mut self, image: &ImageReference) {
        for (name, presence) in &mut self.registry {
            let is_same = name.repository() == image.repository()
                && matches!(presence, Presence::Present(digest) if Some(&*digest) == image.digest());
            if is_same {
                *presence = Presence::Absent;
                self.incomplete.insert(name.clone());
            }
        }
    }

    /// Returns the engine's image of that name.
    pub fn in_engine(&self, image: &ImageReference) -> Option<&EngineImage> {
        let name = image.familiar_name();
        let found = self.engine.get(&name);
        let registry = image.repository().registry();
        if registry.is_some_and(|registry| name.starts_with(registry.as_str())) {
            return found;
        }
        // Podman writes the default registry out, and calls what it built itself `localhost/…`.
        found.or_else(|| {
            let hub = if name.contains('/') {
                "docker.io"
            } else {
                "docker.io/library"
            };
            let written_out = [hub, "localhost"].map(|registry| format!("{registry}/{name}"));
            written_out.iter().find_map(|name| self.engine.get(name))
        })
    }
}
