//! Cache of the last commits that touched sets of paths.
//!
//! Commits are immutable, so entries never expire. There is one file per tip commit, with one line per set of paths.
//! A missing, damaged or unwritable file only costs time.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::model::source::CommitId;
use crate::store::cache::FactCache;

/// The first line of each file; files with another one are ignored.
const FORMAT: &str = "xp history 1";

/// The minimum number of files to keep.
const MIN_FILES: usize = 256;

/// The entries of one tip: the last commit that touched each set of paths.
pub(super) type KnownCommits = BTreeMap<Vec<String>, CommitId>;

/// The folder of the cache.
pub(super) struct LastTouchCache {
    facts: FactCache,
    folder: PathBuf,
}

impl LastTouchCache {
    /// Opens the cache in `folder`, inside `root`.
    pub(super) fn new(root: &Path, folder: PathBuf) -> Self {
        let facts = FactCache::new(root);
        Self { facts, folder }
    }

    /// Reads the entries of a tip.
    pub(super) fn read(&self, tip: CommitId) -> KnownCommits {
        let text = self.facts.read(&self.file(tip));
        text.and_then(|text| parse(&text)).unwrap_or_default()
    }

    /// Writes the entries of some tips.
    pub(super) fn write(&self, known: &BTreeMap<CommitId, KnownCommits>) {
        for (tip, known) in known {
            self.facts.write(&self.file(*tip), &render(known));
        }
        let kept = MIN_FILES.max(4 * known.len());
        self.facts.remove_oldest(&self.folder, kept);
    }

    fn file(&self, tip: CommitId) -> PathBuf {
        self.folder.join(tip.to_string())
    }
}

/// One line per set: the commit and the paths, separated by tabs, which manifest paths cannot contain.
fn render(known: &KnownCommits) -> String {
    let mut text = format!("{FORMAT}\n");
    for (paths, commit) in known {
        text.push_str(&format!("{commit}\t{}\n", paths.join("\t")));
    }
    // The end marker detects truncated files.
    text.push_str("end\n");
    text
}

fn parse(text: &str) -> Option<KnownCommits> {
    let lines = text
        .strip_prefix(FORMAT)?
        .strip_prefix('\n')?
        .strip_suffix("end\n")?;
    let lines = lines.lines().map(|line| {
        let mut parts = line.split('\t');
        let commit = parts.next()?.parse().ok()?;
        Some((parts.map(str::to_owned).collect(), commit))
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn commit(digit: &str) -> CommitId {
        digit.repeat(40).parse().unwrap()
    }

    fn known() -> KnownCommits {
        let set = |paths: &[&str]| paths.iter().map(|path| (*path).to_owned()).collect();
        KnownCommits::from([
            (set(&["services/a"]), commit("1")),
            (set(&["services/a", "libs/ü b"]), commit("2")),
        ])
    }

    #[test]
    fn entries_survive_a_round_trip_and_damaged_files_are_ignored() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("cache");
        let cache = LastTouchCache::new(&root, root.join("history"));
        assert!(cache.read(commit("a")).is_empty());
        cache.write(&BTreeMap::from([(commit("a"), known())]));
        assert_eq!(cache.read(commit("a")), known());
        assert!(cache.read(commit("b")).is_empty());
        let file = cache.file(commit("a"));
        let text = fs::read_to_string(&file).unwrap();
        for damaged in [
            &text[..text.len() / 2],
            "",
            "xp history 2\nend\n",
            &text.replace("2222", "xxxx"),
            &text.replace("\nend\n", "\n"),
        ] {
            fs::write(&file, damaged).unwrap();
            assert!(cache.read(commit("a")).is_empty(), "{damaged}");
        }
        cache.write(&BTreeMap::from([(commit("a"), known())]));
        assert_eq!(cache.read(commit("a")), known());
    }

    #[test]
    fn the_folder_does_not_grow_forever() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("cache");
        let cache = LastTouchCache::new(&root, root.join("history"));
        for number in 0..MIN_FILES + 20 {
            let tip = format!("{number:040x}").parse().unwrap();
            cache.write(&BTreeMap::from([(tip, known())]));
        }
        assert_eq!(fs::read_dir(&cache.folder).unwrap().count(), MIN_FILES);
        let last = format!("{:040x}", MIN_FILES + 19).parse().unwrap();
        assert_eq!(cache.read(last), known());
    }

    #[test]
    fn a_foreign_folder_is_not_touched() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("thesis.txt"), "precious").unwrap();
        let cache = LastTouchCache::new(folder.path(), folder.path().join("history"));
        cache.write(&BTreeMap::from([(commit("a"), known())]));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
