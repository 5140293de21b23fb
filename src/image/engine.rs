//! Images as the engine has them.

use std::collections::HashMap;

/// The labels of an image.
pub type Labels = HashMap<String, String>;

/// Images of an engine, by each of the names that the engine has for them: `repository:tag` and
/// `repository@digest`, as it writes them.
pub type EngineImages = HashMap<String, EngineImage>;

/// An image of the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineImage {
    /// The engine's id of it.
    pub id: String,
    /// Its labels.
    pub labels: Labels,
}
