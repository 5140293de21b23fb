//! Removal of old results.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use super::{StepStore, names};
use crate::model::step_result::{StepKey, StepResult};

/// The age at which an archive without a result is removed: another process may be about to save the result.
const ORPHAN_AGE: Duration = Duration::from_secs(60 * 60);

/// A result on the disk.
pub struct Kept {
    pub result: StepResult,
    /// When it was saved or restored.
    pub used_at: SystemTime,
    /// The size of its description.
    bytes: u64,
}

impl Kept {
    /// Returns the size on disk, with that of an archive which other results may share.
    pub fn size(&self) -> u64 {
        let archive = self.result.outputs.as_ref().map_or(0, |blob| blob.bytes);
        self.bytes + archive
    }
}

impl StepStore {
    /// Returns the readable results, the least recently used one first.
    pub fn kept(&self) -> Vec<Kept> {
        let kept = names(&self.folder.join("results")).filter_map(|(path, name)| {
            let key = name.strip_suffix(".json")?.parse().ok()?;
            let found = fs::metadata(path).ok()?;
            Some(Kept {
                result: self.read(&key)?,
                used_at: found.modified().ok()?,
                bytes: found.len(),
            })
        });
        let mut kept: Vec<Kept> = kept.collect();
        kept.sort_by_key(|kept| (kept.used_at, kept.result.key));
        kept
    }

    /// Removes results, with the archives that no other result has.
    pub fn discard(&self, keys: &HashSet<StepKey>) {
        let (gone, kept): (Vec<Kept>, Vec<Kept>) = self
            .kept()
            .into_iter()
            .partition(|it| keys.contains(&it.result.key));
        let archive = |kept: &Kept| {
            let blob = kept.result.outputs.as_ref()?;
            Some(self.archive_path(&blob.digest))
        };
        let shared: HashSet<PathBuf> = kept.iter().filter_map(archive).collect();
        for it in &gone {
            _ = fs::remove_file(self.result_path(&it.result.key));
            if let Some(path) = archive(it).filter(|path| !shared.contains(path)) {
                _ = fs::remove_file(path);
            }
        }
    }

    /// Removes the least recently used results beyond the limit, except those in `used`.
    pub(super) fn prune(&self, used: &HashSet<StepKey>) {
        let kept = self.kept();
        let archive = |kept: &Kept| {
            let blob = kept.result.outputs.as_ref()?;
            Some(self.archive_path(&blob.digest))
        };
        // Results may share an archive.
        let mut references: HashMap<PathBuf, usize> = HashMap::new();
        for path in kept.iter().filter_map(archive) {
            *references.entry(path).or_default() += 1;
        }
        let mut archives: HashMap<PathBuf, u64> = HashMap::new();
        for (path, _) in names(&self.folder.join("archives")) {
            let Ok(found) = fs::metadata(&path) else {
                continue;
            };
            let age = found.modified().ok().and_then(|at| at.elapsed().ok());
            if !references.contains_key(&path) && age.is_some_and(|age| age > ORPHAN_AGE) {
                _ = fs::remove_file(&path);
            } else {
                archives.insert(path, found.len());
            }
        }
        let results: u64 = kept.iter().map(|kept| kept.bytes).sum();
        let mut total = results + archives.values().sum::<u64>();
        for kept in &kept {
            if total <= self.limit {
                break;
            }
            if used.contains(&kept.result.key) {
                continue;
            }
            _ = fs::remove_file(self.result_path(&kept.result.key));
            total = total.saturating_sub(kept.bytes);
            let Some(path) = archive(kept) else { continue };
            let Some(count) = references.get_mut(&path) else {
                continue;
            };
            *count -= 1;
            if *count == 0 {
                _ = fs::remove_file(&path);
                total = total.saturating_sub(archives.get(&path).copied().unwrap_or_default());
            }
        }
    }
}
