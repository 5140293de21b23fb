//! The results of phases on this machine.
//!
//! `<cacheDir>/steps/results/<key>.json` and `<cacheDir>/steps/archives/<digest>.tar.zst`. Archives are named by their
//! digest, so concurrent processes that save the same key never mix a result with the archive of another one. Nothing
//! is locked or synced: a result whose archive is missing or damaged counts as missing, and the phase runs.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use crate::base::files;
use crate::base::nonce::nonce;
use crate::model::image::Digest;
use crate::model::layout::Layout;
use crate::model::step_result::{OutputsBlob, StepKey, StepResult};
use crate::store::cache::claim;

/// The default total size of results to keep: 10 GiB.
pub const KEPT_RESULT_BYTES: u64 = 10 << 30;

/// The age at which an archive without a result is removed: another process may be about to save the result.
const ORPHAN_AGE: Duration = Duration::from_secs(60 * 60);

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

/// A file to which an archive is written before it is saved; removed when dropped.
///
/// It is locked, so that what a killed process left is recognized.
#[derive(Debug)]
pub struct TempArchive {
    file: File,
    path: PathBuf,
}

impl TempArchive {
    /// Returns the file, which is open for reading and writing.
    pub fn file(&mut self) -> &mut File {
        &mut self.file
    }
}

impl Drop for TempArchive {
    fn drop(&mut self) {
        // It no longer exists if it was saved.
        _ = fs::remove_file(&self.path);
    }
}

/// A result on the disk.
struct Kept {
    result: StepResult,
    used_at: SystemTime,
    bytes: u64,
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
        let folder = self.folder.join("temp");
        fs::create_dir_all(&folder)?;
        let path = folder.join(nonce());
        let mut options = File::options();
        let file = options
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)?;
        // Not all file systems have locks.
        _ = file.try_lock();
        Ok(TempArchive { file, path })
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
        if let Some(OutputsBlob { digest, bytes, .. }) = &result.outputs {
            if archive.file.metadata()?.len() != *bytes {
                return Err(io::Error::other("the archive does not have its size"));
            }
            fs::rename(&archive.path, self.archive_path(digest))?;
        }
        self.use_key(&result.key);
        files::replace(&self.result_path(&result.key), &result.to_json())?;
        self.prune();
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

    /// Returns the results, the least recently used one first.
    fn kept(&self) -> Vec<Kept> {
        let mut kept: Vec<Kept> = names(&self.folder.join("results"))
            .filter_map(|(path, name)| {
                let key = name.strip_suffix(".json")?.parse().ok()?;
                let result = self.read(&key)?;
                let found = fs::metadata(path).ok()?;
                Some(Kept {
                    result,
                    used_at: found.modified().ok()?,
                    bytes: found.len(),
                })
            })
            .collect();
        kept.sort_by_key(|kept| (kept.used_at, kept.result.key));
        kept
    }

    fn prune(&self) {
        let kept = self.kept();
        let mut references: HashMap<PathBuf, usize> = HashMap::new();
        for blob in kept.iter().filter_map(|kept| kept.result.outputs.as_ref()) {
            *references
                .entry(self.archive_path(&blob.digest))
                .or_default() += 1;
        }
        let mut total: u64 = kept.iter().map(|kept| kept.bytes).sum();
        let mut sizes = HashMap::new();
        for (path, _) in names(&self.folder.join("archives")) {
            let Ok(found) = fs::metadata(&path) else {
                continue;
            };
            let age = found.modified().ok().and_then(|at| at.elapsed().ok());
            if !references.contains_key(&path) && age.is_some_and(|age| age > ORPHAN_AGE) {
                _ = fs::remove_file(&path);
            } else {
                total += found.len();
                sizes.insert(path, found.len());
            }
        }
        let used = self
            .used
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        for kept in kept.iter().filter(|kept| !used.contains(&kept.result.key)) {
            if total <= self.limit {
                break;
            }
            _ = fs::remove_file(self.result_path(&kept.result.key));
            total = total.saturating_sub(kept.bytes);
            let Some(blob) = &kept.result.outputs else {
                continue;
            };
            let path = self.archive_path(&blob.digest);
            let Some(count) = references.get_mut(&path) else {
                continue;
            };
            *count -= 1;
            if *count == 0 {
                _ = fs::remove_file(&path);
                total = total.saturating_sub(sizes.get(&path).copied().unwrap_or_default());
            }
        }
    }

    /// Removes the temporary files of processes that were killed.
    fn remove_leftovers(&self) {
        for (path, _) in names(&self.folder.join("temp")) {
            if File::open(&path).is_ok_and(|file| file.try_lock().is_ok()) {
                _ = fs::remove_file(path);
            }
        }
    }
}

/// Returns the paths and names of files in a folder, which need not exist.
fn names(folder: &Path) -> impl Iterator<Item = (PathBuf, String)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| Some((entry.path(), entry.file_name().into_string().ok()?)))
}
