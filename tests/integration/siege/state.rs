//! Contents of folders, and detection of leftovers.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use crate::process;

/// Mode and contents of everything in a folder.
#[derive(Clone, PartialEq, Eq)]
pub struct Folder(BTreeMap<PathBuf, (u32, Vec<u8>)>);

impl Folder {
    /// Reads a folder; one that does not exist is empty.
    pub fn of(path: &Path) -> Self {
        let mut found = BTreeMap::new();
        for entry in WalkDir::new(path).min_depth(1).into_iter().flatten() {
            let Ok(metadata) = entry.metadata() else {
                continue;
            };
            let content = if metadata.is_symlink() {
                let target = fs::read_link(entry.path()).unwrap_or_default();
                target.into_os_string().into_encoded_bytes()
            } else if metadata.is_file() {
                fs::read(entry.path()).unwrap_or_default()
            } else {
                Vec::new()
            };
            let name = entry.path().strip_prefix(path).expect("below it");
            found.insert(name.to_owned(), (metadata.permissions().mode(), content));
        }
        Self(found)
    }

    /// Returns it without the paths that match a predicate.
    pub fn without(mut self, is_excluded: impl Fn(&str) -> bool) -> Self {
        self.0
            .retain(|path, _| !is_excluded(&path.to_string_lossy()));
        self
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns a line for each path that differs.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let paths: std::collections::BTreeSet<_> = self.0.keys().chain(other.0.keys()).collect();
        let differs = paths
            .into_iter()
            .filter(|path| self.0.get(*path) != other.0.get(*path));
        let about = |found: Option<&(u32, Vec<u8>)>| match found {
            None => "nothing".to_owned(),
            Some((mode, content)) => {
                let text: String = process::text(content).chars().take(200).collect();
                format!("{mode:o} {text:?}")
            }
        };
        differs
            .map(|path| {
                let (now, before) = (about(self.0.get(path)), about(other.0.get(path)));
                format!("{}: {now} instead of {before}", path.display())
            })
            .collect()
    }
}

impl fmt::Debug for Folder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.0.keys()).finish()
    }
}

/// Returns the leftovers of interrupted operations: locks, temporary files, incomplete clones.
pub fn partial_files(folder: &Path) -> Vec<String> {
    let entries = WalkDir::new(folder).into_iter().flatten();
    let paths = entries.map(|entry| {
        let path = entry.path().strip_prefix(folder).expect("below it");
        path.display().to_string()
    });
    paths.filter(|path| is_partial(path)).collect()
}

fn is_partial(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let is_new = name.starts_with('.') && name.ends_with(".new");
    let is_clone = path.starts_with(".xp/clone/") || name.starts_with(".xp-clone-");
    let is_session = path.starts_with(".xp/sessions/");
    is_new
        || is_clone
        || is_session
        || name.starts_with(".xp-probe-")
        // The lock files of xp itself are permanent; only the advisory lock on them is released.
        || name.ends_with(".lock")
            && !path.starts_with(".xp/modules/")
            && path != "x-platform.lock"
        || path.contains("/objects/") && !is_object(path)
}

/// Returns whether a path below `objects` belongs to a complete object store.
fn is_object(path: &str) -> bool {
    let (_, name) = path.rsplit_once("/objects/").expect("below it");
    let is_hex = |text: &str| text.chars().all(|c| c.is_ascii_hexdigit());
    let mut parts = name.split('/');
    match (parts.next(), parts.next()) {
        (Some("info"), _) | (Some("pack"), None) => true,
        (Some("pack"), Some(pack)) => pack.strip_prefix("pack-").is_some_and(|rest| {
            let (hash, extension) = rest.split_once('.').unwrap_or((rest, ""));
            hash.len() == 40 && is_hex(hash) && ["pack", "idx", "rev"].contains(&extension)
        }),
        (Some(folder), None) => folder.len() == 2 && is_hex(folder),
        (Some(folder), Some(object)) => {
            folder.len() == 2 && is_hex(folder) && object.len() == 38 && is_hex(object)
        }
        _ => false,
    }
}

/// Returns the processes that use a folder or mention it in their arguments, except the test run's own.
pub fn processes_of(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for process in fs::read_dir("/proc")
        .expect("Linux has it")
        .flatten()
        .map(|entry| entry.path())
    {
        let line = fs::read(process.join("cmdline")).unwrap_or_default();
        let line = process::text(&line).replace('\0', " ");
        let is_inside = fs::read_link(process.join("cwd")).is_ok_and(|cwd| cwd.starts_with(folder));
        let is_server = line.contains("docker-registry") || line.contains("bin/world");
        if is_inside && !is_server {
            found.push(line);
        }
    }
    found
}

/// Returns the paths of xp's own files, except those of individual runs.
pub fn own_files(folder: &Path) -> Vec<String> {
    let entries = WalkDir::new(folder).min_depth(1).sort_by_file_name();
    let paths = entries.into_iter().flatten().map(|entry| {
        let path = entry.path().strip_prefix(folder).expect("below it");
        path.display().to_string()
    });
    paths
        .filter(|path| !path.starts_with("logs/") && !path.contains("/objects/"))
        // The names of packs, images and archives depend on their contents, including timestamps.
        .filter(|path| !path.starts_with("labels") && !path.starts_with("steps/archives/"))
        .collect()
}
