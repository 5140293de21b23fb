//! Patterns of `git.exclude`.

use std::fmt;
use std::str::FromStr;

use crate::base::wildmatch::pathspec_match;

/// A pattern of files that do not matter to a service: a pathspec of git without magic, relative to the repository root.
///
/// Without wildcards, it is a file or a folder with everything in it. Otherwise it matches whole paths of files; `*`
/// matches slashes, too, so that `*.md` matches in every folder.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ExcludePattern(String);

impl ExcludePattern {
    /// Returns whether the file or submodule at a path is excluded.
    pub fn matches(&self, path: &[u8]) -> bool {
        self.covers(path) || self.has_wildcards() && pathspec_match(self.0.as_bytes(), path)
    }

    /// Returns whether a path and everything below it is excluded, as far as that is certain without listing files.
    pub fn covers(&self, path: &[u8]) -> bool {
        let rest = path.strip_prefix(self.0.as_bytes());
        rest.is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
    }

    /// Returns whether the pattern can match a path at or below one of these; true if none are given.
    pub fn may_match_below(&self, paths: &[String]) -> bool {
        let start = self.0.find(WILDCARDS).unwrap_or(self.0.len());
        let start = &self.0[..start];
        let meets = |path: &String| {
            if self.has_wildcards() {
                start.starts_with(path.as_str()) || path.starts_with(start)
            } else {
                self.covers(path.as_bytes()) || Self(path.clone()).covers(start.as_bytes())
            }
        };
        paths.is_empty() || paths.iter().any(meets)
    }

    fn has_wildcards(&self) -> bool {
        self.0.contains(WILDCARDS)
    }

    /// Returns the normalized text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

const WILDCARDS: [char; 3] = ['*', '?', '['];

impl FromStr for ExcludePattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let invalid = |why: &str| Err(format!("invalid pattern `{text}`: {why}"));
        if text.starts_with(['/', '~']) {
            return invalid("must be relative to the repository root, without a leading `/`");
        }
        if text.starts_with('!') {
            return invalid("`!` is not supported; list only what does not matter");
        }
        if text.starts_with(':') {
            return invalid("magic such as `:(icase)` is not supported");
        }
        if text.contains('\\') || text.chars().any(char::is_control) {
            return invalid("must not contain backslashes or control characters");
        }
        let parts = text.split('/');
        let parts: Vec<&str> = parts.filter(|part| !matches!(*part, "" | ".")).collect();
        if parts.contains(&"..") {
            return invalid("must not contain `..`");
        }
        let pattern = parts.join("/");
        if pattern.chars().all(|c| c == '*') {
            return invalid("excludes the whole repository");
        }
        if pattern.contains(WILDCARDS) && text.ends_with('/') {
            return Err(format!(
                "invalid pattern `{text}`: with wildcards, it must match files; write `{pattern}/*`"
            ));
        }
        let mut rest = pattern.as_str();
        while let Some((_, class)) = rest.split_once('[') {
            // A leading `]` is a member.
            let members = class.strip_prefix(['!', '^']).unwrap_or(class);
            let Some(end) = members.char_indices().skip(1).find(|(_, c)| *c == ']') else {
                return invalid("`[` without `]`");
            };
            if members[..end.0].contains("[:") {
                return invalid("classes such as `[:digit:]` are not supported; write `[0-9]`");
            }
            rest = &members[end.0..];
        }
        Ok(Self(pattern))
    }
}

impl fmt::Display for ExcludePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
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
