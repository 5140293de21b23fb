//! Pathspecs of git.

use std::str::FromStr;

use crate::base::text::read_as_text;
use crate::base::wildmatch::pathspec_match;

/// A pathspec of git without magic.
///
/// Without wildcards, it is a file or a folder with everything in it. Otherwise it matches whole paths of files; `*`
/// matches slashes, too, so that `*.md` matches in every folder.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pathspec(String);

const WILDCARDS: [char; 3] = ['*', '?', '['];

impl serde::Serialize for Pathspec {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// Reads a normalized pathspec, of which the empty one matches everything.
impl FromStr for Pathspec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::parse(if text.is_empty() { "." } else { text })
    }
}

read_as_text!(Pathspec);

impl Pathspec {
    /// Parses a pathspec and normalizes its path; `.` becomes the empty pathspec, which matches everything.
    ///
    /// # Errors
    ///
    /// Why it is invalid.
    pub fn parse(text: &str) -> Result<Self, String> {
        let invalid = |why: &str| Err(why.to_owned());
        if text.is_empty() {
            return invalid("is empty");
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
        let is_folder = text.ends_with('/') && !pattern.chars().all(|c| c == '*');
        if pattern.contains(WILDCARDS) && is_folder {
            return Err(format!(
                "with wildcards, it must match files; write `{pattern}/*`"
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

    /// Returns whether the file or submodule at a path matches.
    pub fn matches(&self, path: &[u8]) -> bool {
        self.covers(path) || self.has_wildcards() && pathspec_match(self.0.as_bytes(), path)
    }

    /// Returns whether a path and everything below it matches, as far as that is certain without listing files.
    pub fn covers(&self, path: &[u8]) -> bool {
        let rest = path.strip_prefix(self.0.as_bytes());
        self.0.is_empty() || rest.is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
    }

    /// Returns whether a path at or below this one may match.
    pub fn may_match_below(&self, path: &str) -> bool {
        let start = self.0.find(WILDCARDS).unwrap_or(self.0.len());
        let start = &self.0[..start];
        if self.has_wildcards() {
            start.starts_with(path) || path.starts_with(start)
        } else {
            self.covers(path.as_bytes()) || Self(path.to_owned()).covers(start.as_bytes())
        }
    }

    /// Returns whether it matches every path.
    pub fn is_everything(&self) -> bool {
        self.0.chars().all(|c| c == '*')
    }

    /// Returns whether it has wildcards.
    pub fn has_wildcards(&self) -> bool {
        self.0.contains(WILDCARDS)
    }

    /// Returns the normalized text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
