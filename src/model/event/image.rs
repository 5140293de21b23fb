//! The image of a unit that is done.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An image that exists
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ImageResult {
    /// The image, tagged with its commit or content
    pub image: String,
    /// Its digest in its registry; omitted if it is only in the engine, or unknown
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Its tags; usually, the first one is that of `image`
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
}
