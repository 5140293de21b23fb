//! The results of phases on this machine.
//!
//! `<cacheDir>/steps/results/<key>.json` and `<cacheDir>/steps/archives/<digest>.tar.zst`. Archives are named by their
//! digest, so concurrent processes that save the same key never mix a result with the archive of another one. Nothing
//! is locked or synced: a result whose archive is missing or damaged counts as missing, and the phase runs.

mod prune;
mod temp;

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::SystemTime;

pub use prune::Kept;
pub use temp::TempArchive;

use crate::base::files;
use crate::model::image::Digest;
use crate::model::layout::Layout;
use crate::model::step_result::{StepKey, StepResult};
use crate::store::cache::claim;

/// The default total size of results to keep: 10 GiB.
pub const KEPT_RESULT_BYTES: u64 = 10 << 30;

/// The results on this machine.
#[derive(Debug)]
pub struct StepStore {
    /// The folder that xp claims, of which the results are a part.
    root: PathBuf,
    folder: PathBuf,
    limit: u64,
    is_own: OnceLock<bool>,
    /// Those that this process looked up or saved, which it does not remove.
    used: Mutex<HashSet<StepKey>>,
}

impl StepStore {
    /// Returns the results of a platform; reads and writes nothing. `limit` is their maximum total size.
    pub fn open(layout: &Layout, limit: u64) -> Self {
        Self {
            root: layout.root().to_owned(),
            folder: layout.steps(),
            limit,
            is_own: OnceLock::new(),
            used: Mutex::default(),
        }
    }

    /// Returns the result of a key, unless it or its archive is missing or damaged.
    ///
    /// This process will not remove it afterwards; another one may.
    pub fn get(&self, key: &StepKey) -> Option<StepResult> {
        let result = self.read(key)?;
        if let Some(blob) = &result.outputs {
            let found = fs::metadata(self.archive_path(&blob.digest)).ok()?;
            (found.len() == blob.bytes).then_some(())?;
        }
        self.use_key(key);
        Some(result)
    }

    /// Opens the archive of a result, `None` if the phase has no outputs, and records that the result was used.
    ///
    /// Only the size is checked: [`unpack`] verifies the digest; after its error, call [`StepStore::remove`].
    ///
    /// # Errors
    ///
    /// The archive does not exist, cannot be read, or is damaged; then it is removed.
    ///
    /// [`unpack`]: crate::store::step_archive::unpack
    pub fn open_archive(&self, result: &StepResult) -> io::Result<Option<File>> {
        self.use_key(&result.key);
        if let Ok(file) = File::options()
            .append(true)
            .open(self.result_path(&result.key))
        {
            _ = file.set_modified(SystemTime::now());
        }
        let Some(blob) = &result.outputs else {
            return Ok(None);
        };
        let file = File::open(self.archive_path(&blob.digest));
        match file.and_then(|file| Ok((file.metadata()?.len() == blob.bytes).then_some(file))) {
            Ok(Some(file)) => Ok(Some(file)),
            Ok(None) => {
                self.remove(result);
                let what = "the archive does not have its size";
                Err(io::Error::new(io::ErrorKind::InvalidData, what))
            }
            Err(error) => Err(error),
        }
    }

    /// Removes archives that processes were writing when they were killed.
    pub fn remove_leftovers(&self) {
        TempArchive::remove_leftovers(&self.folder.join("temp"));
    }

    /// Returns a file for an archive that will be saved.
    ///
    /// # Errors
    ///
    /// The folder cannot be written, or is not xp's own.
    pub fn temp(&self) -> io::Result<TempArchive> {
        let is_own = *self.is_own.get_or_init(|| {
            let is_own = claim(&self.root).unwrap_or(false);
            if is_own {
                self.remove_leftovers();
            }
            is_own
        });
        if !is_own {
            let what = format!(
                "{} contains files that xp did not create",
                self.root.display()
            );
            return Err(io::Error::other(what));
        }
        TempArchive::create(&self.folder.join("temp"))
    }

    /// Saves a result with its archive, and then removes the least recently used results beyond the limit.
    ///
    /// `archive` comes from [`StepStore::temp`] and has the content that the result describes; it is `None` for a phase
    /// without outputs.
    ///
    /// # Errors
    ///
    /// A file cannot be written.
    pub fn save(&self, result: &StepResult, archive: Option<TempArchive>) -> io::Result<()> {
        let archive = match archive {
            Some(archive) => archive,
            // It claims the folder.
            None => self.temp()?,
        };
        for folder in ["results", "archives"] {
            fs::create_dir_all(self.folder.join(folder))?;
        }
        if let Some(blob) = &result.outputs {
            archive.persist(blob.bytes, &self.archive_path(&blob.digest))?;
        }
        self.use_key(&result.key);
        files::replace(&self.result_path(&result.key), &result.to_json())?;
        let used = self
            .used
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        self.prune(&used);
        Ok(())
    }

    /// Removes a result, for example because its archive is damaged.
    pub fn remove(&self, result: &StepResult) {
        _ = fs::remove_file(self.result_path(&result.key));
        if let Some(blob) = &result.outputs {
            _ = fs::remove_file(self.archive_path(&blob.digest));
        }
    }

    /// Returns all readable results, the last used one first.
    pub fn list(&self) -> Vec<StepResult> {
        let kept = self.kept().into_iter().rev();
        kept.map(|kept| kept.result).collect()
    }

    fn use_key(&self, key: &StepKey) {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.insert(*key);
    }

    fn read(&self, key: &StepKey) -> Option<StepResult> {
        let text = fs::read(self.result_path(key)).ok()?;
        StepResult::from_json(&text).filter(|result| result.key == *key)
    }

    fn result_path(&self, key: &StepKey) -> PathBuf {
        self.folder.join("results").join(format!("{key}.json"))
    }

    /// Returns the path of an archive. Only digests without path separators can be parsed.
    fn archive_path(&self, digest: &Digest) -> PathBuf {
        let digits = digest.as_str().rsplit(':').next().unwrap_or_default();
        self.folder
            .join("archives")
            .join(format!("{digits}.tar.zst"))
    }
}

/// Returns the paths and names of files in a folder, which need not exist.
fn names(folder: &Path) -> impl Iterator<Item = (PathBuf, String)> + use<> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| Some((entry.path(), entry.file_name().into_string().ok()?)))
}

#[cfg(test)]
mod tests;
