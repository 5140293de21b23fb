//! What `xp clean` must remember between runs, in the cache folder.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::base::error::Failure;
use crate::base::files;
use crate::model::clean::Untagging;
use crate::model::image::{Digest, ImageRepository, Registry};
use crate::model::layout::Layout;
use crate::store::cache::claim;
use crate::store::claim::LockError;

/// The facts, by the text of the names.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Facts {
    /// Whether a registry can remove a tag and keep its image.
    #[serde(default)]
    untagging: BTreeMap<String, bool>,
    /// The manifests without tags that a run removes, by repository. If it is interrupted, nothing else names them.
    #[serde(default)]
    pending: BTreeMap<String, BTreeSet<String>>,
}

/// What is remembered.
pub struct CleanState {
    root: PathBuf,
    file: PathBuf,
    facts: Facts,
}

impl CleanState {
    /// Reads the file. A damaged one is replaced: then only removals that were interrupted are forgotten.
    pub fn read(layout: &Layout) -> Self {
        let file = layout.clean_state();
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        Self {
            root: layout.root().to_owned(),
            file,
            facts: serde_json::from_str(&text).unwrap_or_default(),
        }
    }

    /// Returns whether a registry can remove single tags.
    pub fn untagging(&self, registry: &Registry) -> Untagging {
        match self.facts.untagging.get(registry.as_str()) {
            None => Untagging::Unknown,
            Some(true) => Untagging::Works,
            Some(false) => Untagging::Rejected,
        }
    }

    /// Returns the manifests without tags whose removal may have been interrupted.
    pub fn pending(&self, repository: &ImageRepository) -> Vec<Digest> {
        let pending = self.facts.pending.get(&repository.to_string());
        let digests = pending.into_iter().flatten();
        digests.filter_map(|digest| digest.parse().ok()).collect()
    }

    /// Records whether a registry can remove single tags.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn set_untagging(&mut self, registry: &Registry, works: bool) -> Result<(), Failure> {
        self.facts.untagging.insert(registry.to_string(), works);
        self.write()
    }

    /// Records manifests without tags before they are removed.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn begin(&mut self, pending: BTreeMap<String, BTreeSet<String>>) -> Result<(), Failure> {
        if pending.is_empty() && self.facts.pending.is_empty() {
            return Ok(());
        }
        for (repository, digests) in pending {
            self.facts
                .pending
                .entry(repository)
                .or_default()
                .extend(digests);
        }
        self.write()
    }

    /// Forgets the manifests: all of them are removed, or kept.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn end(&mut self) -> Result<(), Failure> {
        if self.facts.pending.is_empty() {
            return Ok(());
        }
        self.facts.pending.clear();
        self.write()
    }

    fn write(&self) -> Result<(), Failure> {
        let failed = |error: std::io::Error| {
            Failure::outside(format!(
                "cannot write {}: {error}\n\
                 hint: `xp clean` records there what an interrupted run has to finish; set XP_CACHE_DIR to a folder that is writable",
                self.file.display()
            ))
        };
        if !claim(&self.root).map_err(failed)? {
            return Err(LockError::Foreign(self.root.clone()).into());
        }
        let text = serde_json::to_string(&self.facts).unwrap_or_default();
        files::replace_durably(&self.file, &text).map_err(failed)
    }
}
