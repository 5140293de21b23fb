//! `.dockerignore` with Docker's own rules, which differ from `.gitignore`.
//!
//! Patterns are anchored at the context's root, `**` spans folders, a later pattern overrides an earlier one, and
//! everything below a matched folder is matched, too
//! (<https://docs.docker.com/build/concepts/context/#dockerignore-files>).

use regex::Regex;
use thiserror::Error;

/// The patterns of one `.dockerignore`.
#[derive(Debug, Default)]
pub struct Dockerignore {
    patterns: Vec<Pattern>,
}

#[derive(Debug)]
struct Pattern {
    regex: Regex,
    /// Whether it starts with `!`, so that matches are kept.
    keeps: bool,
    /// The pattern, to know whether it can match below a folder.
    text: String,
}

/// An invalid pattern.
#[derive(Debug, Error)]
#[error("line {line}: invalid pattern `{pattern}`")]
pub struct InvalidPattern {
    line: usize,
    pattern: String,
}

impl Dockerignore {
    /// Parses a `.dockerignore`.
    ///
    /// # Errors
    ///
    /// If a pattern is invalid, such as one with an unclosed bracket.
    pub fn parse(text: &str) -> Result<Self, InvalidPattern> {
        let mut patterns = Vec::new();
        for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
            if line.starts_with('#') {
                continue;
            }
            let line = line.trim();
            let (keeps, pattern) = match line.strip_prefix('!') {
                Some(pattern) => (true, pattern.trim()),
                None => (false, line),
            };
            if line.is_empty() {
                continue;
            }
            let invalid = || InvalidPattern {
                line: index + 1,
                pattern: line.to_owned(),
            };
            if pattern.is_empty() {
                return Err(invalid());
            }
            let cleaned = clean(pattern);
            // `.` and `/` would match everything; Docker ignores them.
            if cleaned.is_empty() || cleaned == "." {
                continue;
            }
            let regex = to_regex(&cleaned)
                .and_then(|text| Regex::new(&text).ok())
                .ok_or_else(invalid)?;
            patterns.push(Pattern {
                regex,
                keeps,
                text: cleaned,
            });
        }
        Ok(Self { patterns })
    }

    /// Returns whether a path, relative to the context and with slashes, is excluded.
    pub fn excludes(&self, path: &str) -> bool {
        let mut excluded = false;
        for pattern in &self.patterns {
            // Skip patterns that cannot change the result.
            if pattern.keeps == excluded && pattern.matches_path_or_parent(path) {
                excluded = !pattern.keeps;
            }
        }
        excluded
    }

    /// Returns whether something below an excluded folder may be kept.
    pub fn may_keep_below(&self, folder: &str) -> bool {
        let folder = format!("{folder}/");
        self.patterns
            .iter()
            .filter(|pattern| pattern.keeps)
            .any(|pattern| {
                let literal_end = pattern
                    .text
                    .find(['*', '?', '[', '\\'])
                    .unwrap_or(pattern.text.len());
                let literal = &pattern.text[..literal_end];
                let is_literal = literal_end == pattern.text.len();
                literal.starts_with(&folder)
                    || (!is_literal && folder.starts_with(literal))
                    || (is_literal && folder.starts_with(&format!("{literal}/")))
            })
    }
}

impl Pattern {
    fn matches_path_or_parent(&self, path: &str) -> bool {
        let ends = path
            .match_indices('/')
            .map(|(index, _)| index)
            .chain([path.len()]);
        ends.into_iter()
            .any(|end| self.regex.is_match(&path[..end]))
    }
}

/// Cleans a path like Go's `filepath.Clean`, and removes the leading slash.
fn clean(pattern: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in pattern.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                if parts.last().is_some_and(|last| *last != "..") {
                    parts.pop();
                } else if !pattern.starts_with('/') {
                    parts.push(part);
                }
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

fn to_regex(pattern: &str) -> Option<String> {
    let mut regex = String::from("^");
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '*' if chars.peek() == Some(&'*') => {
                chars.next();
                // `**/` also matches zero folders.
                if chars.peek() == Some(&'/') {
                    chars.next();
                }
                regex.push_str(if chars.peek().is_none() {
                    ".*"
                } else {
                    "(.*/)?"
                });
            }
            '*' => regex.push_str("[^/]*"),
            '?' => regex.push_str("[^/]"),
            '\\' => regex.push_str(&regex::escape(&chars.next()?.to_string())),
            '[' => {
                regex.push('[');
                if chars.peek() == Some(&'^') {
                    regex.push(chars.next()?);
                }
                loop {
                    match chars.next()? {
                        ']' => break,
                        '\\' => regex.push_str(&regex::escape(&chars.next()?.to_string())),
                        '-' => regex.push('-'),
                        c => regex.push_str(&regex::escape(&c.to_string())),
                    }
                }
                regex.push(']');
            }
            c => regex.push_str(&regex::escape(&c.to_string())),
        }
    }
    regex.push('$');
    Some(regex)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn excludes(text: &str, path: &str) -> bool {
        Dockerignore::parse(text).unwrap().excludes(path)
    }

    #[test]
    fn patterns_are_anchored_at_the_root() {
        assert!(excludes("*.md", "README.md"));
        assert!(!excludes("*.md", "docs/README.md"));
        assert!(excludes("**/*.md", "docs/a/README.md"));
        assert!(excludes("**/*.md", "README.md"));
        assert!(excludes("/foo/bar", "foo/bar/baz"));
        assert!(!excludes("foo", "a/foo"));
    }

    #[test]
    fn everything_below_a_matched_folder_is_matched() {
        assert!(excludes("node_modules", "node_modules/a/b.js"));
        assert!(excludes("*/temp*", "a/temporary/x"));
        assert!(!excludes("*/temp*", "a/b/temporary"));
        assert!(excludes("a/**", "a/b/c"));
        assert!(excludes("a/**/c", "a/c"));
        assert!(excludes("temp?", "tempx"));
        assert!(!excludes("temp?", "temp"));
    }

    #[test]
    fn the_last_match_wins() {
        let text = "*.md\n!README*.md\nREADME-secret.md\n";
        assert!(!excludes(text, "README.md"));
        assert!(excludes(text, "README-secret.md"));
        assert!(excludes("*\n!dist", "src/a"));
        assert!(!excludes("*\n!dist", "dist/a"));
        assert!(!excludes("a\n!a/b", "a/b/c"));
    }

    #[test]
    fn comments_and_unusual_lines_are_parsed() {
        assert!(!excludes("# x\n\n  \n.\n/\n", "x"));
        assert!(excludes(" x/ ", "x/y"));
        assert!(excludes("./a/../b", "b"));
        assert!(excludes("[a-c].txt", "b.txt"));
        assert!(excludes("[^a]x", "bx"));
        assert!(excludes("\\*x", "*x"));
        assert!(!excludes("a.b", "axb"));
        assert!(Dockerignore::parse("[a").is_err());
        assert!(Dockerignore::parse("!").is_err());
    }

    #[test]
    fn folders_are_pruned_only_when_nothing_below_is_kept() {
        let ignore = Dockerignore::parse("*\n!a/b/c\n!**/keep\n").unwrap();
        assert!(ignore.may_keep_below("a"));
        assert!(ignore.may_keep_below("z"), "`**` may match anywhere");
        let ignore = Dockerignore::parse("*\n!a/b/c\n!d/*.txt").unwrap();
        assert!(ignore.may_keep_below("a/b"));
        assert!(ignore.may_keep_below("a/b/c"));
        assert!(ignore.may_keep_below("d"));
        assert!(!ignore.may_keep_below("ab"));
        assert!(!ignore.may_keep_below("node_modules"));
    }
}
