//! Images in an engine, and queries for them.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use super::{Digest, ImageReference, Platform};

/// The labels of an image.
pub type Labels = BTreeMap<String, String>;

/// Images of an engine by name, as the engine writes it: `repository:tag` or `repository@digest`. An image has an
/// entry for each of its names.
pub type EngineImages = HashMap<String, EngineImage>;

/// An image to look up in an engine.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ImageQuery {
    /// The name to look up.
    pub name: ImageReference,
    /// Other names that the image should have: some engines return only the names that were queried.
    pub additional_names: Vec<ImageReference>,
}

impl ImageQuery {
    pub fn into_names(self) -> impl Iterator<Item = ImageReference> {
        std::iter::once(self.name).chain(self.additional_names)
    }
}

impl From<ImageReference> for ImageQuery {
    fn from(name: ImageReference) -> Self {
        Self {
            name,
            additional_names: Vec::new(),
        }
    }
}

/// An image in a registry, described by its configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedImage {
    pub labels: Labels,
    /// The digest of its configuration, which is the image ID in an engine without the containerd image store; `None`
    /// if there is no configuration.
    pub config: Option<Digest>,
    /// Its platform; `None` for an index, and if it is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// The images of an index. It is described by its first one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<PlatformImage>,
}

/// One of the images of an index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlatformImage {
    pub platform: Platform,
    pub digest: Digest,
    /// The digest of its configuration.
    pub config: Option<Digest>,
    pub labels: Labels,
}

impl PublishedImage {
    /// Returns the digest and the labels of the image for a platform; `digest` is its own.
    pub fn for_platform<'i>(
        &'i self,
        digest: &'i Digest,
        platform: &Platform,
    ) -> Option<(&'i Digest, &'i Labels)> {
        if self.platform.as_ref() == Some(platform) {
            return Some((digest, &self.labels));
        }
        let image = self.images.iter().find(|it| it.platform == *platform)?;
        Some((&image.digest, &image.labels))
    }

    /// Returns the digests of everything that it consists of, apart from its own.
    pub fn digests(&self) -> impl Iterator<Item = &Digest> {
        let images = self.images.iter();
        let of_images = images.flat_map(|it| std::iter::once(&it.digest).chain(&it.config));
        self.config.iter().chain(of_images)
    }
}

/// An image in the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineImage {
    /// The engine's image ID.
    pub id: String,
    pub labels: Labels,
}
