//! Sparse checkouts: determines which files of a commit git would check out.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use git2::{IndexEntry, IndexEntryExtendedFlag, Repository};

use crate::base::wildmatch::wildmatch;

/// The patterns of a sparse checkout.
pub struct Sparse {
    patterns: Vec<SparsePattern>,
    /// `sparse.expectFilesOutsideOfPatterns`: present files outside the patterns are ignored.
    ignores_present: bool,
}

/// A line of `info/sparse-checkout`, in the format of `.gitignore`.
struct SparsePattern {
    glob: Vec<u8>,
    is_negative: bool,
    is_folder: bool,
    /// Matches whole paths, not names at any depth.
    is_anchored: bool,
}

impl Sparse {
    /// Returns the patterns of a repository; `None` if its checkout is not sparse.
    pub fn of(repository: &Repository) -> Option<Self> {
        let config = repository.config().ok()?.snapshot().ok()?;
        if !config.get_bool("core.sparseCheckout").unwrap_or(false) {
            return None;
        }
        // Without the file, git checks out everything.
        let text = fs::read(repository.path().join("info/sparse-checkout")).ok()?;
        let ignores_present = config.get_bool("sparse.expectFilesOutsideOfPatterns");
        Some(Self {
            patterns: text
                .split(|byte| *byte == b'\n')
                .filter_map(SparsePattern::of)
                .collect(),
            ignores_present: ignores_present.unwrap_or(false),
        })
    }

    /// Returns whether a file is checked out.
    pub fn includes(&self, path: &[u8]) -> bool {
        // The innermost folder with a match decides, and of several matching patterns the last one.
        let mut part = path;
        let mut is_folder = false;
        loop {
            let decisive = self
                .patterns
                .iter()
                .rev()
                .find(|it| it.matches(part, is_folder));
            if let Some(pattern) = decisive {
                return !pattern.is_negative;
            }
            let Some(slash) = part.iter().rposition(|byte| *byte == b'/') else {
                return false;
            };
            part = &part[..slash];
            is_folder = true;
        }
    }
}

/// Returns whether git assumes that an entry marked `skip-worktree` is unchanged.
///
/// In a sparse checkout, git checks marked files that are nevertheless present.
pub fn is_skipped(entry: &IndexEntry, sparse: Option<&Sparse>, dir: &Path) -> bool {
    if !is_marked(entry) {
        return false;
    }
    let checks_present = sparse.is_some_and(|sparse| !sparse.ignores_present);
    !(checks_present && is_present(entry, dir))
}

/// Returns whether an entry is marked `skip-worktree`.
pub fn is_marked(entry: &IndexEntry) -> bool {
    entry.flags_extended & IndexEntryExtendedFlag::SKIP_WORKTREE.bits() != 0
}

pub fn is_present(entry: &IndexEntry, dir: &Path) -> bool {
    let path = std::ffi::OsStr::from_bytes(&entry.path);
    fs::symlink_metadata(dir.join(path)).is_ok()
}

impl SparsePattern {
    fn of(line: &[u8]) -> Option<Self> {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let line = without_trailing_spaces(line);
        if line.is_empty() || line.starts_with(b"#") {
            return None;
        }
        let (line, is_negative) = match line.strip_prefix(b"!") {
            Some(rest) => (rest, true),
            None => (line, false),
        };
        let (line, is_folder) = match line.strip_suffix(b"/") {
            Some(rest) => (rest, true),
            None => (line, false),
        };
        let is_anchored = line.contains(&b'/');
        let glob = line.strip_prefix(b"/").unwrap_or(line);
        Some(Self {
            glob: glob.to_vec(),
            is_negative,
            is_folder,
            is_anchored,
        })
    }

    fn matches(&self, path: &[u8], is_folder: bool) -> bool {
        if self.is_folder && !is_folder {
            return false;
        }
        if self.is_anchored {
            return wildmatch(&self.glob, path);
        }
        let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or(path);
        wildmatch(&self.glob, name)
    }
}

fn without_trailing_spaces(line: &[u8]) -> &[u8] {
    let end = line.iter().rposition(|byte| *byte != b' ');
    match end {
        None => &[],
        // A backslash escapes one space.
        Some(end) if line[end] == b'\\' => &line[..line.len().min(end + 2)],
        Some(end) => &line[..=end],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sparse(text: &str) -> Sparse {
        Sparse {
            patterns: text
                .as_bytes()
                .split(|byte| *byte == b'\n')
                .filter_map(SparsePattern::of)
                .collect(),
            ignores_present: false,
        }
    }

    #[test]
    fn cones_include_their_folders_and_files_in_parents() {
        let cone = sparse("/*\n!/*/\n/a/\n!/a/*/\n/a/b/\n");
        for path in ["file", "a/file", "a/b/file", "a/b/c/file"] {
            assert!(cone.includes(path.as_bytes()), "{path}");
        }
        for path in ["b/file", "a/c/file", "ab/file", "x/a/b/file"] {
            assert!(!cone.includes(path.as_bytes()), "{path}");
        }
    }

    #[test]
    fn non_cone_patterns_match_like_gitignore() {
        let patterns = sparse("# text\n*.md\n!docs/**/old.md\nsrc/*.c\nbuild/\n\\#x\n");
        for path in [
            "a.md",
            "deep/b.md",
            "src/x.c",
            "build/x",
            "deep/build/y/z",
            "#x",
        ] {
            assert!(patterns.includes(path.as_bytes()), "{path}");
        }
        for path in ["docs/old.md", "docs/a/old.md", "src/deep/x.c", "build", "x"] {
            assert!(!patterns.includes(path.as_bytes()), "{path}");
        }
    }
}
