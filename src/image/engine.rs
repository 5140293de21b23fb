//! Images as the engine has them.

use std::collections::HashMap;

/// The labels of an image.
pub type Labels = HashMap<String, String>;

/// An image of the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineImage {
    /// The engine's id of it.
    pub id: String,
    /// Its labels.
    pub labels: Labels,
}
