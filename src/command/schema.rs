//! `xp schema`

use crate::error::Failure;
use crate::manifest;

/// Prints the JSON Schema of the manifest.
pub fn run() -> Result<(), Failure> {
    let schema = manifest::schema();
    let text = serde_json::to_string_pretty(&schema).unwrap_or_else(|_| schema.to_string());
    super::print(&format!("{text}\n"))
}
