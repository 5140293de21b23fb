//! The sizes of what xp keeps on this machine, and how much of it `xp clean` would remove.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Finding;
use crate::base::plural::count_of;
use crate::base::units::disk_size;
use crate::model::clean::{Action, CacheKind, CleanPlan};

/// The size from which a summary says what can be removed.
const WORTHWHILE: u64 = 1 << 30;

/// A part of what xp keeps, such as the logs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoragePart {
    pub name: String,
    /// The number of entries or images.
    pub items: usize,
    pub bytes: u64,
    /// What `xp clean` would remove of it.
    pub removable: u64,
}

/// The contents of xp's own folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CacheContents {
    pub parts: Vec<StoragePart>,
    /// Whether there are more files than were counted.
    pub is_partial: bool,
}

/// The images of the platform in the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EngineImageFacts {
    /// They were counted; layers that images share are counted with each of them.
    Known(StoragePart),
    /// The engine did not list them in time.
    Slow,
}

impl StoragePart {
    fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            items: 0,
            bytes: 0,
            removable: 0,
        }
    }

    fn add(&mut self, bytes: u64, action: Action) {
        self.items += 1;
        self.bytes += bytes;
        if action == Action::Remove {
            self.removable += bytes;
        }
    }

    /// Returns the images of a plan for the engine.
    pub fn images(plan: &CleanPlan) -> Self {
        let mut images = Self::new("images");
        // Names that go are not images.
        for item in plan.items.iter().filter(|it| it.action != Action::Untag) {
            images.add(item.bytes, item.action);
        }
        images
    }
}

impl CacheContents {
    /// Returns the contents by kind, from a plan for the folder.
    pub fn of(plan: &CleanPlan, is_partial: bool) -> Self {
        let mut parts: BTreeMap<&str, StoragePart> = BTreeMap::new();
        for item in &plan.items {
            let new = || StoragePart::new(&item.group);
            let part = parts.entry(&item.group).or_insert_with(new);
            part.add(item.bytes, item.action);
        }
        let in_order = CacheKind::ALL.iter().map(|kind| kind.as_str());
        Self {
            parts: in_order.filter_map(|kind| parts.remove(kind)).collect(),
            is_partial,
        }
    }

    /// Returns what can be removed, for a summary, if it is worth it.
    pub(super) fn summary(&self) -> Option<String> {
        removable_summary(self.removable())
    }

    fn removable(&self) -> u64 {
        self.parts.iter().map(|part| part.removable).sum()
    }

    pub(super) fn finding(&self, folder: &str) -> Finding {
        let total: u64 = self.parts.iter().map(|part| part.bytes).sum();
        let least = if self.is_partial { "at least " } else { "" };
        let sizes = self.parts.iter().filter(|part| part.bytes > 0);
        let sizes = sizes.map(|part| format!("{} {}", part.name, disk_size(part.bytes)));
        let sizes: Vec<String> = sizes.collect();
        let mut what = format!("{folder} has {least}{}", disk_size(total));
        if sizes.len() > 1 {
            what.push_str(&format!(" ({})", sizes.join(", ")));
        }
        let command = "`xp clean --cache` shows it, and `--delete` removes it";
        finding(what, "", self.removable(), command, self.parts.clone())
    }
}

impl EngineImageFacts {
    /// Returns what can be removed, for a summary, if it is worth it.
    pub(super) fn summary(&self) -> Option<String> {
        match self {
            Self::Known(images) => removable_summary(images.removable),
            Self::Slow => None,
        }
    }

    pub(super) fn finding(&self) -> Finding {
        match self {
            Self::Known(images) => {
                let count = count_of(images.items, "image");
                let size = disk_size(images.bytes);
                let what = format!(
                    "the engine has {count} of this platform, {size} including shared layers"
                );
                let command = "`xp clean --engine` shows them, and `--delete` removes them";
                let parts = vec![images.clone()];
                finding(what, "about ", images.removable, command, parts)
            }
            Self::Slow => Finding::note(
                "the engine did not list its images in time, so their size is unknown",
            )
            .fix("`xp clean --engine` lists them"),
        }
    }
}

fn removable_summary(bytes: u64) -> Option<String> {
    (bytes >= WORTHWHILE).then(|| format!("{} removable", disk_size(bytes)))
}

/// Returns a note if something can be removed.
fn finding(
    what: String,
    about: &str,
    removable: u64,
    command: &str,
    storage: Vec<StoragePart>,
) -> Finding {
    let finding = match removable {
        0 => Finding::ok(what),
        bytes => {
            let bytes = disk_size(bytes);
            Finding::note(format!("{what}, of which {about}{bytes} can be removed")).fix(command)
        }
    };
    Finding { storage, ..finding }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::clean::{CacheEntry, cache_plan};
    use crate::model::manifest::CleanCache;

    const DAY: i64 = 86_400;

    fn entry(kind: CacheKind, name: &str, age: i64) -> CacheEntry {
        CacheEntry {
            kind,
            name: name.to_owned(),
            bytes: 1 << 30,
            used: Some(100 * DAY - age * DAY),
            service: None,
            in_use: None,
        }
    }

    #[test]
    fn parts_have_their_own_sizes() {
        let entries = [
            entry(CacheKind::StepResult, "a", 1),
            entry(CacheKind::Export, "build/a", 1),
            entry(CacheKind::Export, "build/b", 90),
        ];
        let keep = CleanCache {
            days: 30,
            size: 1 << 40,
        };
        let contents = CacheContents::of(&cache_plan(&entries, keep, 100 * DAY), false);
        let finding = contents.finding(".xp");
        assert_eq!(
            finding.what,
            ".xp has 3 GiB (exports 2 GiB, results 1 GiB), of which 1 GiB can be removed"
        );
        assert_eq!(contents.summary().as_deref(), Some("1 GiB removable"));
        assert_eq!(finding.storage[0].items, 2);
        assert_eq!(finding.storage[0].removable, 1 << 30);
        let partial = CacheContents {
            is_partial: true,
            ..CacheContents::default()
        };
        let finding = partial.finding(".xp");
        assert_eq!(finding.what, ".xp has at least 0 bytes");
        assert!(finding.fixes.is_empty());
    }

    #[test]
    fn images_of_the_engine_are_an_estimate() {
        let images = StoragePart {
            name: "images".to_owned(),
            items: 3,
            bytes: 3 << 30,
            removable: 2 << 30,
        };
        let finding = EngineImageFacts::Known(images).finding();
        assert_eq!(
            finding.what,
            "the engine has 3 images of this platform, 3 GiB including shared layers, of which about 2 GiB can be removed"
        );
        assert!(EngineImageFacts::Slow.finding().storage.is_empty());
    }
}
