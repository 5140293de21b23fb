//! Patterns of `scripts.reports`.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use super::select::matches;
use crate::base::text::{read_as_text, write_as_text};

/// A pattern of files, relative to the service's folder: `*` and `?` match within a name, `**` any number of folders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportPattern(String);

impl FromStr for ReportPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::parse(text)
    }
}

write_as_text!(ReportPattern);
read_as_text!(ReportPattern);

impl ReportPattern {
    /// Parses a pattern.
    ///
    /// # Errors
    ///
    /// The pattern may match files outside of the service's folder, or folders.
    pub fn parse(text: &str) -> Result<Self, String> {
        let invalid = |why: &str| Err(format!("invalid pattern `{text}`: {why}"));
        if text.starts_with(['/', '~']) {
            return invalid("must be relative to the service's folder");
        }
        if text.ends_with('/') {
            return invalid("must match files; add `*.xml`");
        }
        if text.chars().any(char::is_control) {
            return invalid("must not contain control characters");
        }
        let parts = text.split('/');
        let parts: Vec<&str> = parts.filter(|part| !matches!(*part, "" | ".")).collect();
        if parts.contains(&"..") {
            return invalid("must not contain `..`");
        }
        if parts.is_empty() {
            return invalid("must match files, such as `target/surefire-reports/*.xml`");
        }
        Ok(Self(parts.join("/")))
    }

    /// Returns the longest path without wildcards: a folder with all matching files, or the file itself; empty for
    /// the service's folder.
    pub fn start(&self) -> &Path {
        let is_wild = |part: &&str| part.contains(['*', '?']);
        let parts = self.0.split('/').take_while(|part| !is_wild(part));
        let length: usize = parts.map(|part| part.len() + 1).sum();
        Path::new(&self.0[..length.saturating_sub(1)])
    }

    /// Returns whether a relative path matches.
    pub fn matches(&self, path: &Path) -> bool {
        let names = path.iter().map(|name| name.to_str());
        let Some(names) = names.collect::<Option<Vec<&str>>>() else {
            return false;
        };
        let parts: Vec<&str> = self.0.split('/').collect();
        // Which parts the names so far may end before.
        let mut ends = vec![false; parts.len() + 1];
        ends[0] = true;
        skip_stars(&parts, &mut ends);
        for name in names {
            let mut next = vec![false; parts.len() + 1];
            for (at, part) in parts.iter().enumerate().filter(|(at, _)| ends[*at]) {
                match *part {
                    "**" => next[at] = true,
                    part => next[at + 1] |= matches(part, name),
                }
            }
            skip_stars(&parts, &mut next);
            ends = next;
        }
        ends[parts.len()] && !path.as_os_str().is_empty()
    }
}

/// `**` also matches no folder.
fn skip_stars(parts: &[&str], ends: &mut [bool]) {
    for (at, part) in parts.iter().enumerate() {
        // At the end it matches files, and so at least one name.
        if ends[at] && *part == "**" {
            ends[at + 1] = true;
        }
    }
}

impl fmt::Display for ReportPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_paths() {
        for (pattern, path, expected) in [
            ("junit.xml", "junit.xml", true),
            ("junit.xml", "a/junit.xml", false),
            ("./target/*.xml", "target/TEST-a.xml", true),
            ("target/*.xml", "target/deep/a.xml", false),
            ("**/*.xml", "a.xml", true),
            ("**/*.xml", "a/b/c.xml", true),
            ("**/reports/*.xml", "a/reports/c.xml", true),
            ("**/reports/*.xml", "reports/c.xml", true),
            ("**/reports/*.xml", "a/reports/b/c.xml", false),
            ("a/**/b/**/c.xml", "a/b/x/b/y/c.xml", true),
            ("a/**/b/**/c.xml", "a/x/c.xml", false),
            ("a/**", "a/b/c.txt", true),
            ("out?.xml", "out1.xml", true),
            ("out?.xml", "out.xml", false),
        ] {
            let parsed = ReportPattern::parse(pattern).unwrap();
            assert_eq!(
                parsed.matches(Path::new(path)),
                expected,
                "{pattern} {path}"
            );
        }
    }

    #[test]
    fn only_the_folder_with_the_files_is_searched() {
        for (pattern, start) in [
            ("target/surefire-reports/*.xml", "target/surefire-reports"),
            ("**/*.xml", ""),
            ("*.xml", ""),
            ("out/junit.xml", "out/junit.xml"),
            ("a/b*/c/d.xml", "a"),
        ] {
            let parsed = ReportPattern::parse(pattern).unwrap();
            assert_eq!(parsed.start(), Path::new(start), "{pattern}");
        }
    }

    #[test]
    fn patterns_outside_of_the_service_are_rejected() {
        for pattern in [
            "/tmp/*.xml",
            "../a.xml",
            "a/../../b",
            "~/a",
            "out/",
            ".",
            "",
            "a\nb",
        ] {
            assert!(ReportPattern::parse(pattern).is_err(), "{pattern}");
        }
    }
}
