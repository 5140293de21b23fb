//! What the cache folder has: its parts that can be removed on their own, with sizes and times.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::model::clean::{CacheEntry, CacheKind};
use crate::model::layout::Layout;
use crate::model::manifest::ServiceName;
use crate::store::runs::Runs;
use crate::store::step_results::StepStore;

/// The entries of a cache folder.
pub struct CacheEntries {
    pub entries: Vec<CacheEntry>,
    /// Whether there are more files than were counted.
    pub is_partial: bool,
}

/// Returns the entries, and counts at most `max_files` files for their sizes. Files of unknown kinds are left out, so they
/// are never removed.
pub fn cache_entries(
    layout: &Layout,
    services: &BTreeSet<&ServiceName>,
    max_files: Option<usize>,
) -> CacheEntries {
    let reader = EntryReader {
        layout,
        services,
        rest: Cell::new(max_files.unwrap_or(usize::MAX)),
        session: has_session(layout)
            .then(|| "a session of `xp shell` or `xp run` is open".to_owned()),
    };
    let mut entries = reader.exports();
    entries.extend(reader.caches());
    entries.extend(reader.logs());
    entries.extend(reader.results());
    entries.extend(reader.stores());
    CacheEntries {
        entries,
        is_partial: reader.rest.get() == 0,
    }
}

/// Returns the paths of an entry, which are removed together; empty for a result of a phase.
pub fn entry_paths(layout: &Layout, entry: &str, kind: CacheKind) -> Vec<PathBuf> {
    let path = layout.root().join(entry);
    match kind {
        CacheKind::StepResult => Vec::new(),
        CacheKind::Export => {
            let name = Path::new(entry).file_name().unwrap_or_default();
            EXPORTS
                .iter()
                .map(|folder| layout.root().join(folder).join(name))
                .collect()
        }
        CacheKind::Cache | CacheKind::Logs | CacheKind::Store | CacheKind::Leftover => vec![path],
    }
}

/// The folders with a part of the export of each service; the first one names it.
const EXPORTS: [&str; 3] = ["build", "git", "stage"];

struct EntryReader<'e> {
    layout: &'e Layout,
    services: &'e BTreeSet<&'e ServiceName>,
    /// The number of files that may still be counted.
    rest: Cell<usize>,
    /// Why what containers may have mounted cannot be removed.
    session: Option<String>,
}

impl EntryReader<'_> {
    fn exports(&self) -> Vec<CacheEntry> {
        let mut exports: BTreeMap<String, CacheEntry> = BTreeMap::new();
        for folder in EXPORTS {
            for (name, path) in folders(&self.layout.root().join(folder)) {
                let entry = exports.entry(name.clone()).or_insert_with(|| CacheEntry {
                    kind: CacheKind::Export,
                    name: format!("{}/{name}", EXPORTS[0]),
                    bytes: 0,
                    used: None,
                    service: self.former(&name),
                    in_use: self.session.clone(),
                });
                entry.bytes += self.size(&path);
                entry.used = entry.used.max(used(&path));
            }
        }
        exports.into_values().collect()
    }

    fn caches(&self) -> Vec<CacheEntry> {
        let caches = folders(&self.layout.root().join("cache"));
        let entry = |(name, path): (String, PathBuf)| CacheEntry {
            kind: CacheKind::Cache,
            name: format!("cache/{name}"),
            bytes: self.size(&path),
            used: used(&path),
            service: self.former(&name),
            in_use: self.session.clone(),
        };
        caches.into_iter().map(entry).collect()
    }

    fn logs(&self) -> Vec<CacheEntry> {
        let runs = Runs::new(self.layout.logs()).list().unwrap_or_default();
        let last = runs.last().map(|run| run.number);
        let entry = |run: crate::store::runs::Run| CacheEntry {
            kind: CacheKind::Logs,
            name: format!("logs/{}", run.number),
            bytes: self.size(&run.folder),
            used: used(&run.folder),
            service: None,
            in_use: if run.is_running() {
                Some("the run is in progress".to_owned())
            } else {
                (Some(run.number) == last).then(|| "the last run".to_owned())
            },
        };
        runs.into_iter().map(entry).collect()
    }

    fn results(&self) -> Vec<CacheEntry> {
        let kept = StepStore::open(self.layout, u64::MAX).kept();
        let entry = |kept: crate::store::step_results::Kept| CacheEntry {
            kind: CacheKind::StepResult,
            name: kept.result.key.to_string(),
            bytes: kept.size(),
            used: seconds(kept.used_at),
            service: None,
            in_use: None,
        };
        kept.into_iter().map(entry).collect()
    }

    fn stores(&self) -> Vec<CacheEntry> {
        let mut entries = Vec::new();
        let root = self.layout.root();
        for (folder, kind) in [
            ("modules", CacheKind::Store),
            ("kustomize", CacheKind::Store),
            ("clone", CacheKind::Leftover),
        ] {
            for (name, path) in folders(&root.join(folder)) {
                entries.push(self.store(kind, format!("{folder}/{name}"), &path));
            }
        }
        let files = self.layout.lfs();
        if files.is_dir() {
            entries.push(self.store(CacheKind::Store, "lfs".to_owned(), &files));
        }
        entries
    }

    fn store(&self, kind: CacheKind, name: String, path: &Path) -> CacheEntry {
        CacheEntry {
            kind,
            name,
            bytes: self.size(path),
            used: used(path),
            service: None,
            in_use: self.session.clone(),
        }
    }

    /// Returns the name of a service that is not in the manifest.
    fn former(&self, name: &str) -> Option<String> {
        let is_known = self.services.iter().any(|it| it.as_str() == name);
        (!is_known).then(|| name.to_owned())
    }

    fn size(&self, folder: &Path) -> u64 {
        let files = walkdir::WalkDir::new(folder).into_iter().flatten();
        let files = files.take_while(|_| {
            let rest = self.rest.get();
            self.rest.set(rest.saturating_sub(1));
            rest > 0
        });
        files
            .filter_map(|entry| entry.metadata().ok())
            .map(|it| disk_bytes(&it))
            .sum()
    }
}

/// Returns the size on the disk: sparse files are smaller than they look.
fn disk_bytes(metadata: &fs::Metadata) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    metadata.blocks() * 512
}

/// Returns the folders in a folder.
fn folders(folder: &Path) -> Vec<(String, PathBuf)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    // A symbolic link could lead anywhere.
    let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let named =
        folders.filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry.path())));
    let mut folders: Vec<_> = named.collect();
    folders.sort();
    folders
}

/// Returns when a folder was last used: the latest change of it and of what is in it, two levels deep.
fn used(folder: &Path) -> Option<i64> {
    let files = walkdir::WalkDir::new(folder)
        .max_depth(2)
        .into_iter()
        .flatten();
    let times = files.filter_map(|entry| entry.metadata().ok()?.modified().ok());
    times.filter_map(seconds).max()
}

fn seconds(time: SystemTime) -> Option<i64> {
    let seconds = time.duration_since(UNIX_EPOCH).ok()?.as_secs();
    i64::try_from(seconds).ok()
}

/// Returns whether a container of another xp works on files of the cache folder without its lock.
fn has_session(layout: &Layout) -> bool {
    let entries = fs::read_dir(layout.sessions())
        .into_iter()
        .flatten()
        .flatten();
    let mut files = entries.filter_map(|entry| File::open(entry.path()).ok());
    files.any(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_of_services_and_runs_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(folder.path().to_owned());
        for path in [
            "build/a",
            "git/a",
            "stage/a",
            "build/old",
            "cache/a/x-1",
            "logs/1",
            "logs/2",
            "clone/z",
        ] {
            fs::create_dir_all(folder.path().join(path)).unwrap();
        }
        fs::write(folder.path().join("build/a/file"), vec![0; 10_000]).unwrap();
        fs::create_dir_all(folder.path().join("mine")).unwrap();
        let name: ServiceName = "a".parse().unwrap();
        let entries = cache_entries(&layout, &BTreeSet::from([&name]), None).entries;
        let names: Vec<&str> = entries.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "build/a",
                "build/old",
                "cache/a",
                "logs/1",
                "logs/2",
                "clone/z"
            ]
        );
        assert!(entries[0].bytes >= 10_000 && entries[0].service.is_none());
        assert_eq!(entries[1].service.as_deref(), Some("old"));
        assert_eq!(entries[4].in_use.as_deref(), Some("the last run"));
        let paths = entry_paths(&layout, "build/a", CacheKind::Export);
        assert!(paths.iter().all(|path| path.is_dir()), "{paths:?}");

        fs::create_dir_all(layout.sessions()).unwrap();
        let session = File::create(layout.sessions().join("1-0")).unwrap();
        session.lock().unwrap();
        let entries = cache_entries(&layout, &BTreeSet::from([&name]), None).entries;
        assert!(entries[0].in_use.is_some() && entries[2].in_use.is_some());
    }
}
