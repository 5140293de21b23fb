//! Patterns of a phase's `inputs`.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Pathspec;

/// A pattern of files that a phase reads: a pathspec of git, relative to the service's folder, or to the repository root
/// if it starts with `/`. With `:!` in front, it leaves out files that other patterns match.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InputPattern {
    pattern: Pathspec,
    is_from_top: bool,
    excludes: bool,
}

impl InputPattern {
    /// Returns whether it leaves files out.
    pub fn excludes(&self) -> bool {
        self.excludes
    }

    /// Returns the pattern for a service in a folder of the repository.
    pub fn scoped(&self, folder: Option<&str>) -> ScopedPattern {
        let folder = folder.filter(|_| !self.is_from_top);
        ScopedPattern {
            folder: folder.unwrap_or_default().to_owned(),
            pattern: self.pattern.clone(),
            excludes: self.excludes,
        }
    }
}

impl FromStr for InputPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let invalid = |why: &str| format!("invalid pattern `{text}`: {why}");
        if text.starts_with('!') {
            return Err(invalid(&format!("to leave files out, write `:{text}`")));
        }
        let (excludes, rest) = match text.strip_prefix(":!") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (is_from_top, rest) = match rest.strip_prefix('/') {
            Some("") => (true, "."),
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        if rest.starts_with('~') {
            return Err(invalid("must be in the repository"));
        }
        let pattern = Pathspec::parse(rest).map_err(|why| invalid(&why))?;
        if excludes && pattern.is_everything() {
            return Err(invalid("leaves everything out"));
        }
        Ok(Self {
            pattern,
            is_from_top,
            excludes,
        })
    }
}

impl fmt::Display for InputPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let excludes = if self.excludes { ":!" } else { "" };
        let top = if self.is_from_top { "/" } else { "" };
        let pattern = match self.pattern.as_str() {
            "" if !self.is_from_top => ".",
            pattern => pattern,
        };
        write!(f, "{excludes}{top}{pattern}")
    }
}

/// An [`InputPattern`] in a folder of the repository.
#[derive(
    Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub struct ScopedPattern {
    /// The folder that the pattern is relative to; empty for the repository root.
    folder: String,
    pattern: Pathspec,
    /// Whether it leaves files out.
    pub excludes: bool,
}

impl ScopedPattern {
    /// Returns whether the file or submodule at a path of the repository matches.
    pub fn matches(&self, path: &[u8]) -> bool {
        self.below(path)
            .is_some_and(|rest| self.pattern.matches(rest))
    }

    /// Returns whether a path of the repository and everything below it matches.
    pub fn covers(&self, path: &[u8]) -> bool {
        self.below(path)
            .is_some_and(|rest| self.pattern.covers(rest))
    }

    /// Returns whether a file below a folder of the repository may match.
    pub fn may_match_below(&self, folder: &[u8]) -> bool {
        match self.below(folder) {
            Some(rest) => match str::from_utf8(rest) {
                Ok(rest) => self.pattern.may_match_below(rest),
                Err(_) => true,
            },
            None => {
                let rest = self.folder.as_bytes().strip_prefix(folder);
                rest.is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
            }
        }
    }

    /// Returns the file or folder in the repository, if the pattern has no wildcards.
    pub fn literal(&self) -> Option<String> {
        if self.pattern.has_wildcards() {
            return None;
        }
        let parts = [self.folder.as_str(), self.pattern.as_str()];
        let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        Some(parts.join("/"))
    }

    /// Returns the part of a path below the folder.
    fn below<'p>(&self, path: &'p [u8]) -> Option<&'p [u8]> {
        if self.folder.is_empty() {
            return Some(path);
        }
        let rest = path.strip_prefix(self.folder.as_bytes())?;
        match rest.split_first() {
            None => Some(rest),
            Some((b'/', rest)) => Some(rest),
            Some(_) => None,
        }
    }
}

impl fmt::Display for ScopedPattern {
    /// Writes the pattern as relative to the repository root.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [self.folder.as_str(), self.pattern.as_str()];
        let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        match parts.as_slice() {
            [] => f.write_str("."),
            parts => f.write_str(&parts.join("/")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> InputPattern {
        text.parse().unwrap()
    }

    #[test]
    fn patterns_are_relative_to_the_service() {
        for (text, path, expected) in [
            ("src", "svc/a/src/x", true),
            ("src", "src/x", false),
            ("src", "svc/ab/src/x", false),
            ("/libs", "libs/x", true),
            ("/libs", "svc/a/libs/x", false),
            ("*.ts", "svc/a/src/x.ts", true),
            ("*.ts", "libs/x.ts", false),
            ("/*.ts", "libs/x.ts", true),
            (".", "svc/a/x", true),
            (".", "svc/b/x", false),
            ("/", "svc/b/x", true),
            ("*", "svc/a/b/x", true),
        ] {
            let scoped = pattern(text).scoped(Some("svc/a"));
            assert_eq!(scoped.matches(path.as_bytes()), expected, "{text} {path}");
        }
        assert!(pattern("src").scoped(None).matches(b"src/x"));
        assert_eq!(
            pattern("./src//x/")
                .scoped(Some("svc"))
                .literal()
                .as_deref(),
            Some("svc/src/x")
        );
    }

    #[test]
    fn folders_without_inputs_are_known() {
        for (text, folder, expected) in [
            ("src", "svc", true),
            ("src", "svc/a", true),
            ("src", "svc/a/src/x", true),
            ("src", "svc/a/docs", false),
            ("src", "sv", false),
            ("src", "libs", false),
            ("/libs", "libs", true),
            ("/libs", "svc", false),
            ("*.ts", "svc/a/docs", true),
            ("src/*.ts", "svc/a/docs", false),
        ] {
            let scoped = pattern(text).scoped(Some("svc/a"));
            assert_eq!(
                scoped.may_match_below(folder.as_bytes()),
                expected,
                "{text} {folder}"
            );
        }
    }

    #[test]
    fn text_is_normalized() {
        for (text, normalized) in [
            ("./src//x", "src/x"),
            (".", "."),
            ("/", "/"),
            ("/./libs/", "/libs"),
            (":!src/*.md", ":!src/*.md"),
            (":!/docs", ":!/docs"),
        ] {
            assert_eq!(pattern(text).to_string(), normalized);
            assert_eq!(pattern(normalized), pattern(text));
        }
        assert!(pattern(":!x").excludes() && !pattern("x").excludes());
        for text in [
            "",
            "!x",
            ":(icase)x",
            ":!",
            ":!.",
            "../x",
            "/../x",
            "~/x",
            "a\\b",
            "a*/",
            "a[b",
        ] {
            assert!(text.parse::<InputPattern>().is_err(), "{text}");
        }
    }
}
