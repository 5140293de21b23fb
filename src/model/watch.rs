//! Decisions of `--watch`: which changes come from the builds themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::base::plural::count_of;

/// A file that changed during this many builds in a row, and not in between, is written by the build.
const BUILDS: u32 = 3;

/// The digest of a file's content.
pub type ContentDigest = [u8; 20];

/// Files that builds write.
///
/// The system does not report who wrote a file. A file with the same content after each build causes one more build at
/// most, because images are compared by content. One with a different content each time would cause builds forever.
#[derive(Debug, Default)]
pub struct BuildWrites {
    /// The number of builds in a row during which a file changed, and its digest after the last one.
    builds: BTreeMap<PathBuf, (u32, Option<ContentDigest>)>,
    known: BTreeSet<PathBuf>,
}

impl BuildWrites {
    /// Records the files that changed during a build, with their digests; `None` if there is no such file. Returns those
    /// that the build is now known to write.
    pub fn during_build(
        &mut self,
        files: BTreeMap<PathBuf, Option<ContentDigest>>,
    ) -> Vec<PathBuf> {
        self.builds.retain(|file, _| files.contains_key(file));
        let mut found = Vec::new();
        for (file, digest) in files {
            let (builds, last) = self.builds.entry(file.clone()).or_default();
            if *builds == 0 || *last != digest {
                *builds += 1;
            }
            *last = digest;
            if *builds == BUILDS && self.known.insert(file.clone()) {
                found.push(file);
            }
        }
        found
    }

    /// Records the files that changed while nothing was built: by the user.
    pub fn between_builds<'f>(&mut self, files: impl IntoIterator<Item = &'f PathBuf>) {
        for file in files {
            self.builds.remove(file);
            self.known.remove(file);
        }
    }

    /// Returns whether a file is known to be written by the build.
    pub fn is_known(&self, file: &Path) -> bool {
        self.known.contains(file)
    }
}

/// Returns whether a file with this name is a temporary one of an editor: vim's swap and probe files, lock and autosave
/// files of Emacs, and backups. They count as files of the working copy, but do not cause a build.
pub fn is_editor_file(name: &str) -> bool {
    let is_swap = |name: &str| {
        let extension = name
            .strip_prefix('.')
            .and_then(|rest| rest.rsplit_once('.'));
        extension.is_some_and(|(_, it)| {
            it.len() == 3 && it.starts_with("sw") && it.as_bytes()[2].is_ascii_lowercase()
        })
    };
    let is_autosave = name.len() > 2 && name.starts_with('#') && name.ends_with('#');
    name == "4913" || name.ends_with('~') || name.starts_with(".#") || is_autosave || is_swap(name)
}

/// Returns the text of the warning about files that a build writes.
pub fn written_by_build(file: &str, others: usize) -> String {
    if others == 0 {
        return format!(
            "{file} changes during every build, so it causes no further build until it changes between builds\n\
             hint: if scripts write it, list it in .gitignore"
        );
    }
    format!(
        "{file} and {} change during every build, so they cause no further build until they change between builds\n\
         hint: if scripts write them, list them in .gitignore",
        count_of(others, "other file")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns files with a content.
    fn files(names: &[&str], content: u8) -> BTreeMap<PathBuf, Option<ContentDigest>> {
        let files = names.iter().map(PathBuf::from);
        files.map(|file| (file, Some([content; 20]))).collect()
    }

    #[test]
    fn a_file_that_changes_during_each_build_is_written_by_it() {
        let mut writes = BuildWrites::default();
        assert!(writes.during_build(files(&["a", "b"], 1)).is_empty());
        assert!(writes.during_build(files(&["a"], 2)).is_empty());
        let found = writes.during_build(files(&["a", "b"], 3));
        assert_eq!(found, [PathBuf::from("a")]);
        assert!(writes.is_known(Path::new("a")));
        assert!(!writes.is_known(Path::new("b")));
        // It is reported once.
        assert!(writes.during_build(files(&["a", "b"], 4)).is_empty());
    }

    #[test]
    fn an_oscillating_file_is_written_by_the_build() {
        let mut writes = BuildWrites::default();
        assert!(writes.during_build(files(&["a"], 1)).is_empty());
        assert!(writes.during_build(files(&["a"], 2)).is_empty());
        assert_eq!(writes.during_build(files(&["a"], 1)).len(), 1);
    }

    #[test]
    fn a_file_with_the_same_content_each_time_causes_no_loop() {
        let mut writes = BuildWrites::default();
        for _ in 0..5 {
            assert!(writes.during_build(files(&["a"], 1)).is_empty());
        }
    }

    #[test]
    fn temporary_files_of_editors_are_recognized() {
        for name in [
            ".main.rs.swp",
            ".x.swo",
            "4913",
            "main.rs~",
            ".#main.rs",
            "#main.rs#",
        ] {
            assert!(is_editor_file(name), "{name}");
        }
        for name in [
            "main.rs",
            "main.swp.rs",
            ".swp",
            "#",
            "x.swp",
            ".gitignore",
            ".a.swift",
        ] {
            assert!(!is_editor_file(name), "{name}");
        }
    }

    #[test]
    fn a_change_between_builds_is_the_users() {
        let mut writes = BuildWrites::default();
        let file = PathBuf::from("a");
        for content in 1..3 {
            assert!(writes.during_build(files(&["a"], content)).is_empty());
        }
        writes.between_builds([&file]);
        for content in 3..5 {
            assert!(writes.during_build(files(&["a"], content)).is_empty());
        }
        assert_eq!(writes.during_build(files(&["a"], 5)).len(), 1);
        writes.between_builds([&file]);
        assert!(!writes.is_known(&file));
    }
}
