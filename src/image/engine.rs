//! Images as the engine has them.

use std::collections::HashMap;

/// An image of the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineImage {
    /// The engine's id of it.
    pub id: String,
    /// Its labels.
    pub labels: HashMap<String, String>,
}
