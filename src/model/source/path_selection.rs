//! The part of a repository that a service consists of.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ExcludePattern, ScopedPattern};

/// The files of a repository that belong to a service.
#[derive(
    Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub struct PathSelection {
    /// Folders and files, relative to the repository, without `.` and `..`; empty for the whole repository.
    pub paths: Vec<String>,
    /// The files that are left out.
    pub exclude: Vec<ExcludePattern>,
    /// If set, only files that match one of these patterns and no exclusion.
    pub only: Option<Vec<ScopedPattern>>,
}

impl PathSelection {
    /// Selects folders and files; all if there are none.
    pub fn of(paths: Vec<String>) -> Self {
        Self {
            paths,
            ..Self::default()
        }
    }

    /// Selects those of the files that patterns match.
    pub fn only(self, patterns: Vec<ScopedPattern>) -> Self {
        Self {
            only: Some(patterns),
            ..self
        }
    }

    /// Returns whether everything is selected.
    pub fn is_whole(&self) -> bool {
        self.paths.is_empty() && self.exclude.is_empty() && self.only.is_none()
    }

    /// Returns whether a file or submodule is selected.
    pub fn includes(&self, path: &[u8]) -> bool {
        self.is_in_paths(path)
            && !self.exclude.iter().any(|it| it.matches(path))
            && self.is_wanted(path)
    }

    fn is_wanted(&self, path: &[u8]) -> bool {
        let Some(patterns) = &self.only else {
            return true;
        };
        let matches = |excludes| {
            let mut patterns = patterns.iter().filter(move |it| it.excludes == excludes);
            patterns.any(|it| it.matches(path))
        };
        matches(false) && !matches(true)
    }

    /// Returns whether a folder is certain to contain nothing that is selected.
    pub fn is_outside(&self, folder: &[u8]) -> bool {
        let is_above = |path: &String| {
            let rest = path.as_bytes().strip_prefix(folder);
            rest.is_some_and(|rest| rest.starts_with(b"/"))
        };
        let meets = self.is_in_paths(folder) || self.paths.iter().any(is_above);
        let may_be_wanted = self.only.as_ref().is_none_or(|patterns| {
            let mut wanted = patterns.iter().filter(|it| !it.excludes);
            let mut excluded = patterns.iter().filter(|it| it.excludes);
            wanted.any(|it| it.may_match_below(folder)) && !excluded.any(|it| it.covers(folder))
        });
        !meets || !may_be_wanted || self.exclude.iter().any(|it| it.covers(folder))
    }

    /// Returns whether a path is at or below one of the paths, excluded or not.
    pub fn is_in_paths(&self, path: &[u8]) -> bool {
        let is_below = |selected: &String| {
            let rest = path.strip_prefix(selected.as_bytes());
            rest.is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
        };
        self.paths.is_empty() || self.paths.iter().any(is_below)
    }

    /// Returns the excluded patterns for a message, such as `docs, *.md`; `None` if there are none.
    pub fn excluded_text(&self) -> Option<String> {
        let patterns: Vec<&str> = self.exclude.iter().map(ExcludePattern::as_str).collect();
        (!patterns.is_empty()).then(|| patterns.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::source::InputPattern;

    fn selection(paths: &[&str], exclude: &[&str]) -> PathSelection {
        PathSelection {
            paths: paths.iter().map(|path| (*path).to_owned()).collect(),
            exclude: exclude.iter().map(|text| text.parse().unwrap()).collect(),
            only: None,
        }
    }

    #[test]
    fn only_whole_names_match() {
        let wanted = selection(&["services/a", "go.mod"], &[]);
        for path in ["services/a", "services/a/x/y", "go.mod"] {
            assert!(wanted.includes(path.as_bytes()), "{path}");
        }
        for path in [
            "services/ab",
            "services",
            "services/b/x",
            "go.modx",
            "x/go.mod",
        ] {
            assert!(!wanted.includes(path.as_bytes()), "{path}");
        }
        assert!(PathSelection::default().includes(b"x"));
    }

    #[test]
    fn excluded_files_are_left_out() {
        let wanted = selection(&["services/a", "go.mod"], &["services/a/docs", "*.md"]);
        assert!(wanted.includes(b"services/a/x"));
        for path in [
            "services/a/docs/x",
            "services/a/x/README.md",
            "services/b/x",
        ] {
            assert!(!wanted.includes(path.as_bytes()), "{path}");
        }
        for (folder, expected) in [
            ("services", false),
            ("services/a", false),
            ("services/a/x", false),
            ("services/a/docs", true),
            ("services/a/docs/x", true),
            ("services/b", true),
            ("serv", true),
        ] {
            assert_eq!(wanted.is_outside(folder.as_bytes()), expected, "{folder}");
        }
        assert!(!selection(&[], &["*.md"]).is_whole());
    }

    #[test]
    fn inputs_are_a_part_of_the_files() {
        let patterns = |texts: &[&str]| {
            let patterns = texts
                .iter()
                .map(|text| text.parse::<InputPattern>().unwrap());
            patterns.map(|it| it.scoped(Some("services/a"))).collect()
        };
        let wanted = selection(&["services/a", "libs"], &["*.md"]);
        let wanted = wanted.only(patterns(&["src", "/libs", ":!src/old"]));
        for (path, expected) in [
            ("services/a/src/x", true),
            ("services/a/src/x.md", false),
            ("services/a/src/old/x", false),
            ("services/a/x", false),
            ("libs/x", true),
            ("other/x", false),
        ] {
            assert_eq!(wanted.includes(path.as_bytes()), expected, "{path}");
        }
        for (folder, expected) in [
            ("services", false),
            ("services/a/src", false),
            ("services/a/src/old", true),
            ("services/a/docs", true),
            ("libs/x", false),
        ] {
            assert_eq!(wanted.is_outside(folder.as_bytes()), expected, "{folder}");
        }
        let nothing = selection(&[], &[]).only(Vec::new());
        assert!(!nothing.includes(b"x") && !nothing.is_whole());
    }
}
