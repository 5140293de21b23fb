//! Decides what `xp clean` removes from registries and engines. Pure.
//!
//! [`Contents`] is everything that repositories have, and the roots: what locks, environments and references name.
//! [`plan`] marks what is reachable from a root, and everything else that the manifest keeps; only what is left may go.
//! It works on digests, because deleting a manifest removes all of its tags. What is unknown is kept, and whoever fills
//! in [`Contents`] stops if a root cannot be read.

mod cache;
mod contents;
mod digests;
mod document;
mod index;
mod order;
mod plan;
mod reason;
mod rules;
mod saved;
mod tags;
#[cfg(test)]
mod tests;
mod text;

pub use cache::{CacheEntry, CacheKind, cache_plan};
pub use contents::{
    BuiltImage, Contents, ImageContent, OpenReferences, Repository, RepositoryKind, Roots,
    StoredImage, Untagging,
};
pub use digests::digests_in;
pub use document::{CleanDocument, schema};
pub use plan::{Action, CleanItem, CleanPlan, Place, plan};
pub use reason::{Reason, Rule};
pub use saved::SavedPlan;
pub use tags::{content_of, subject_of};
pub use text::{Shown, text};
