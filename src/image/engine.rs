//! Images as the engine has them.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use super::Digest;

/// The labels of an image.
pub type Labels = BTreeMap<String, String>;

/// Images of an engine, by each of the names that the engine has for them: `repository:tag` and
/// `repository@digest`, as it writes them.
pub type EngineImages = HashMap<String, EngineImage>;

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
