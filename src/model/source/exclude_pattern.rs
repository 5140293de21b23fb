//! Patterns of `git.exclude`.

use std::fmt;
use std::str::FromStr;

use super::Pathspec;
use crate::base::text::{read_as_text, write_as_text};

/// A pattern of files that do not matter to a service: a pathspec of git without magic, relative to the repository root.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ExcludePattern(Pathspec);

impl ExcludePattern {
    /// Returns whether the file or submodule at a path is excluded.
    pub fn matches(&self, path: &[u8]) -> bool {
        self.0.matches(path)
    }

    /// Returns whether a path and everything below it is excluded, as far as that is certain without listing files.
    pub fn covers(&self, path: &[u8]) -> bool {
        self.0.covers(path)
    }

    /// Returns whether the pattern can match a path at or below one of these; true if none are given.
    pub fn may_match_below(&self, paths: &[String]) -> bool {
        paths.is_empty() || paths.iter().any(|path| self.0.may_match_below(path))
    }

    /// Returns the normalized text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

write_as_text!(ExcludePattern);
read_as_text!(ExcludePattern);

impl FromStr for ExcludePattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let invalid = |why: &str| format!("invalid pattern `{text}`: {why}");
        if text.starts_with(['/', '~']) {
            return Err(invalid(
                "must be relative to the repository root, without a leading `/`",
            ));
        }
        if text.starts_with('!') {
            return Err(invalid(
                "`!` is not supported; list only what does not matter",
            ));
        }
        let pattern = Pathspec::parse(text).map_err(|why| invalid(&why))?;
        if pattern.is_everything() {
            return Err(invalid("excludes the whole repository"));
        }
        Ok(Self(pattern))
    }
}

impl fmt::Display for ExcludePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> ExcludePattern {
        text.parse().unwrap()
    }

    #[test]
    fn patterns_match_like_pathspecs() {
        for (text, path, expected) in [
            ("docs", "docs/a/b", true),
            ("docs/", "docs/a/b", true),
            ("./docs//old", "docs/old/b", true),
            ("docs", "docs", true),
            ("docs", "docs.txt", false),
            ("docs", "a/docs/b", false),
            ("*.md", "README.md", true),
            ("*.md", "docs/README.md", true),
            ("*.md", "old.md/x", false),
            ("docs/*.md", "docs/a/b.md", true),
            ("*/docs/*", "a/docs/b", true),
            ("*/docs/*", "docs/b", false),
            ("[Rr]eadme*", "readme.txt", true),
        ] {
            assert_eq!(
                pattern(text).matches(path.as_bytes()),
                expected,
                "{text} {path}"
            );
        }
    }

    #[test]
    fn patterns_elsewhere_have_no_effect() {
        let paths = ["svc/a".to_owned(), "libs".to_owned()];
        for (text, expected) in [
            ("svc/a/docs", true),
            ("svc", true),
            ("libs", true),
            ("docs", false),
            ("svc/ab", false),
            ("*.md", true),
            ("svc/*/docs", true),
            ("svc/b*", false),
            ("libs*", true),
        ] {
            assert_eq!(pattern(text).may_match_below(&paths), expected, "{text}");
            assert!(pattern(text).may_match_below(&[]));
        }
    }

    #[test]
    fn invalid_patterns_are_rejected() {
        for text in [
            "",
            ".",
            "/",
            "*",
            "**",
            "/docs",
            "~/x",
            "!docs",
            ":(icase)x",
            ":!x",
            "../x",
            "a\\*",
            "a\tb",
            "a*/",
            "a[b",
            "a[]",
            "a[b/",
            "x[[:alpha:]]",
        ] {
            assert!(text.parse::<ExcludePattern>().is_err(), "{text}");
        }
        assert_eq!(pattern("a[]]b").as_str(), "a[]]b");
    }
}
