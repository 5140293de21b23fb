//! Images in an engine, and queries for them.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use super::{Digest, ImageReference};

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
}

/// An image in the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineImage {
    /// The engine's image ID.
    pub id: String,
    pub labels: Labels,
}
