//! The plan as JSON: the output of `xp clean --format json`, and the file of `--save`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::plan::{Action, CleanItem, CleanPlan, Place};
use super::reason::Rule;

/// The version of the JSON format. New fields do not change it.
pub(super) const VERSION: u64 = 1;

/// What `xp clean` removes and keeps
///
/// Fields may be added within a version; ignore unknown fields.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(title = "xp clean --format json")]
pub struct CleanDocument {
    /// The version of this format
    pub(super) version: u64,
    /// What is cleaned
    pub(super) places: Vec<Place>,
    /// Whether the removals were carried out
    pub(super) deleted: bool,
    /// Number of items that are removed, or lose tags
    pub(super) removed: usize,
    /// Number of items that are kept
    pub(super) kept: usize,
    /// The bytes that are freed, by place. A registry frees them when it collects garbage
    pub(super) freed_bytes: BTreeMap<Place, u64>,
    /// All items; those that are removed come first, in the order of their removal
    pub(super) items: Vec<ItemDocument>,
    /// Repositories of services that are no longer in the manifest, with their numbers of tags. Nothing is removed there
    #[serde(default)]
    pub(super) former_repositories: BTreeMap<String, usize>,
}

/// An image, or a file of the cache folder
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(super) struct ItemDocument {
    /// Where it is
    pub place: Place,
    /// The docker context of the engine, if it is one of `engines`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<String>,
    /// The repository, or the kind of file
    pub group: String,
    /// The digest, the ID in the engine, or the path below the cache folder
    pub name: String,
    /// The tags
    #[serde(default)]
    pub tags: Vec<String>,
    /// What happens to it
    pub action: Action,
    /// The rule that decided
    pub rule: Rule,
    /// Why
    pub reason: String,
    /// The size in bytes. Images share parts of it
    pub bytes: u64,
}

impl CleanDocument {
    /// Returns the document of a plan.
    pub fn new(plan: &CleanPlan, places: &[Place], deleted: bool) -> Self {
        let removed = plan.removals();
        let kept = plan.items.iter().filter(|it| it.action == Action::Keep);
        let items: Vec<ItemDocument> = removed.chain(kept).map(ItemDocument::of).collect();
        let removed = plan.removals().count();
        Self {
            version: VERSION,
            places: places.to_vec(),
            deleted,
            removed,
            kept: items.len() - removed,
            freed_bytes: plan.freed.clone(),
            items,
            former_repositories: plan.former.clone(),
        }
    }

    /// Returns the JSON text.
    pub fn text(&self) -> String {
        // Only maps with other keys than text cannot be serialized.
        let text = serde_json::to_string_pretty(self).unwrap_or_default();
        format!("{text}\n")
    }
}

impl ItemDocument {
    fn of(item: &CleanItem) -> Self {
        Self {
            place: item.place,
            engine: item.engine.clone(),
            group: item.group.clone(),
            name: item.name.clone(),
            tags: item.tags.clone(),
            action: item.action,
            rule: item.reason.rule,
            reason: item.reason.text().to_owned(),
            bytes: item.bytes,
        }
    }
}

/// Returns the JSON Schema of the document.
pub fn schema() -> Value {
    let generator = SchemaSettings::draft07().into_generator();
    json!(generator.into_root_schema_for::<CleanDocument>())
}
