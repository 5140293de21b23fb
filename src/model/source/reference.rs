//! Requested and resolved git references.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::CommitId;

/// A reference requested by a manifest, `--branch` or `--reference`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum GitReference {
    /// The branch of the remote's `HEAD`.
    DefaultBranch,
    /// A commit by its full SHA-1.
    Commit(CommitId),
    /// A full name starting with `refs/`.
    Full(RefName),
    /// A short name: a branch, with or without `origin/`, a tag, or the part after `refs/`.
    Named(RefName),
}

impl GitReference {
    /// Returns the full names to try, in order of preference.
    ///
    /// Follows gitrevisions(7), except that a branch takes precedence over a tag of the same name. For example,
    /// `tags/v1` is the tag, and `pull/7/head` is `refs/pull/7/head`. Both `origin/x` and `remotes/origin/x` mean the
    /// branch `x`; a branch actually named `origin/x` is used only if there is no branch `x`.
    pub fn candidates(&self) -> Vec<String> {
        match self {
            Self::DefaultBranch => vec!["HEAD".to_owned()],
            Self::Commit(_) => Vec::new(),
            Self::Full(name) => vec![name.to_string()],
            Self::Named(name) => {
                let mut candidates = Vec::new();
                let of_clone = ["origin/", "remotes/origin/"];
                let branch = of_clone
                    .iter()
                    .find_map(|it| name.as_str().strip_prefix(it));
                if let Some(branch) = branch {
                    candidates.push(format!("refs/heads/{branch}"));
                } else if name.as_str().contains('/') {
                    candidates.push(format!("refs/{name}"));
                }
                candidates.push(format!("refs/heads/{name}"));
                candidates.push(format!("refs/tags/{name}"));
                candidates
            }
        }
    }
}

impl fmt::Display for GitReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DefaultBranch => f.write_str("HEAD"),
            Self::Commit(commit) => commit.fmt(f),
            Self::Full(name) | Self::Named(name) => name.fmt(f),
        }
    }
}

impl FromStr for GitReference {
    type Err = InvalidRefName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "HEAD" {
            return Ok(Self::DefaultBranch);
        }
        if let Ok(commit) = text.parse() {
            return Ok(Self::Commit(commit));
        }
        let name: RefName = text.parse()?;
        if text.starts_with("refs/") {
            Ok(Self::Full(name))
        } else {
            Ok(Self::Named(name))
        }
    }
}

/// A reference name that `git check-ref-format` accepts.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RefName(String);

impl RefName {
    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RefName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An invalid name of a branch or tag.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("invalid git reference `{name}`: {reason}")]
pub struct InvalidRefName {
    name: String,
    reason: &'static str,
}

impl FromStr for RefName {
    type Err = InvalidRefName;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let reason = if name.is_empty() {
            Some("must not be empty")
        } else if name.starts_with('-') {
            Some("must not start with `-`")
        } else if name.starts_with('/') || name.ends_with('/') || name.contains("//") {
            Some("must not have an empty part between slashes")
        } else if name.contains("..") {
            Some("must not contain `..`")
        } else if name.contains("@{") || name == "@" {
            Some("must not contain `@{` or be `@`")
        } else if name.ends_with('.') {
            Some("must not end with a dot")
        } else if name.split('/').any(|part| part.starts_with('.')) {
            Some("a part must not start with a dot")
        } else if name.split('/').any(|part| part.ends_with(".lock")) {
            Some("a part must not end with `.lock`")
        } else if name
            .chars()
            .any(|c| c.is_ascii_control() || " ~^:?*[\\".contains(c))
        {
            Some("must not contain spaces, control characters or any of ~ ^ : ? * [ \\")
        } else {
            None
        };
        match reason {
            None => Ok(Self(name.to_owned())),
            Some(reason) => Err(InvalidRefName {
                name: name.to_owned(),
                reason,
            }),
        }
    }
}

/// A reference resolved in its remote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ResolvedReference {
    /// The commit; annotated tags are peeled.
    pub commit: CommitId,
    /// The full name of the reference, such as `refs/heads/master`; `None` for a bare SHA-1.
    pub name: Option<String>,
}

impl ResolvedReference {
    /// Returns the short name of the branch or tag, such as `master` or `v1.0`; `None` for a bare SHA-1.
    pub fn short_name(&self) -> Option<&str> {
        let name = self.name.as_deref()?;
        ["refs/heads/", "refs/tags/", "refs/"]
            .iter()
            .find_map(|prefix| name.strip_prefix(prefix))
            .or(Some(name))
    }

    /// Returns the branch name, if the reference is a branch.
    pub fn branch(&self) -> Option<&str> {
        self.name.as_deref()?.strip_prefix("refs/heads/")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidates_of_references() {
        let candidates = |text: &str| text.parse::<GitReference>().unwrap().candidates();
        assert_eq!(
            candidates("origin/master"),
            [
                "refs/heads/master",
                "refs/heads/origin/master",
                "refs/tags/origin/master"
            ]
        );
        assert_eq!(candidates("v1.0"), ["refs/heads/v1.0", "refs/tags/v1.0"]);
        for (short, full) in [
            ("tags/v1", "refs/tags/v1"),
            ("heads/v1", "refs/heads/v1"),
            ("pull/7/head", "refs/pull/7/head"),
            ("feature/x", "refs/feature/x"),
            ("remotes/origin/x", "refs/heads/x"),
        ] {
            let short_name = |prefix: &str| format!("refs/{prefix}/{short}");
            let expected = [full.to_owned(), short_name("heads"), short_name("tags")];
            assert_eq!(candidates(short), expected);
        }
        assert_eq!(candidates("refs/pull/1/head"), ["refs/pull/1/head"]);
        assert_eq!(candidates("HEAD"), ["HEAD"]);
        assert!(candidates(&"a".repeat(40)).is_empty());
    }

    #[test]
    fn invalid_references_are_rejected() {
        for invalid in [
            "", "-x", "a..b", "a b", "a~1", "a:", "/a", "a/", "a//b", ".a", "x.lock", "@{u}", "a.",
        ] {
            assert!(invalid.parse::<GitReference>().is_err(), "{invalid}");
        }
    }
}
