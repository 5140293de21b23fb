//! Images as the engine has them.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use super::{Digest, ImageReference};

/// The labels of an image.
pub type Labels = BTreeMap<String, String>;

/// Images of an engine, by each of the names that the engine has for them: `repository:tag` and
/// `repository@digest`, as it writes them.
pub type EngineImages = HashMap<String, EngineImage>;

/// An image to look up in an engine.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ImageQuery {
    /// The name that the image is looked up by.
    pub name: ImageReference,
    /// The further names that it should have: some engines do not return the names that were not asked for.
    pub further_names: Vec<ImageReference>,
}

impl ImageQuery {
    /// Returns all names.
    pub fn into_names(self) -> impl Iterator<Item = ImageReference> {
        std::iter::once(self.name).chain(self.further_names)
    }
}

impl From<ImageReference> for ImageQuery {
    fn from(name: ImageReference) -> Self {
        Self {
            name,
            further_names: Vec::new(),
        }
    }
}

/// An image of a registry, as its configuration describes it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedImage {
    /// Its labels.
    pub labels: Labels,
    /// The digest of its configuration, by which an engine without the containerd image store knows it; `None` for
    /// what has no configuration.
    pub config: Option<Digest>,
}

/// An image of the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineImage {
    /// The engine's id of it.
    pub id: String,
    /// Its labels.
    pub labels: Labels,
}
