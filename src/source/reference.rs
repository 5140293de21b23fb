//! References: what is asked for, and what it turned out to be.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use super::CommitId;

/// What a manifest, `--branch` or `--reference` asks for in a remote.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum GitReference {
    /// The branch that the remote's `HEAD` names.
    DefaultBranch,
    /// A commit by its full SHA-1.
    Commit(CommitId),
    /// A full name that starts with `refs/`.
    Full(RefName),
    /// A short name: of a branch, with `origin/` before it or without, of a tag, or what follows `refs/`.
    Named(RefName),
}

impl GitReference {
    /// Returns the full reference names that may be meant, the preferred one first.
    ///
    /// The rules are those of gitrevisions(7), but that a branch is preferred to a tag of the same name,
    /// as the branch is what moves and what the tool is about. So `tags/v1` is the tag, and `pull/7/head`
    /// is `refs/pull/7/head`. `origin/x` means the branch `x`, as does `remotes/origin/x`, by which a clone
    /// knows it; a branch that is really called `origin/x` is taken where there is no `x`.
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

/// A reference name that `git check-ref-format` would accept.
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

/// A text that git would not accept as the name of a branch or a tag.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{name}` is not a git reference: {reason}")]
pub struct InvalidRefName {
    name: String,
    reason: &'static str,
}

impl FromStr for RefName {
    type Err = InvalidRefName;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let reason = if name.is_empty() {
            Some("it is empty")
        } else if name.starts_with('-') {
            Some("it starts with `-`")
        } else if name.starts_with('/') || name.ends_with('/') || name.contains("//") {
            Some("it has an empty part between slashes")
        } else if name.contains("..") {
            Some("it contains `..`")
        } else if name.contains("@{") || name == "@" {
            Some("it contains `@{` or is `@`")
        } else if name.ends_with('.') {
            Some("it ends with a dot")
        } else if name.split('/').any(|part| part.starts_with('.')) {
            Some("a part of it starts with a dot")
        } else if name.split('/').any(|part| part.ends_with(".lock")) {
            Some("a part of it ends with `.lock`")
        } else if name
            .chars()
            .any(|c| c.is_ascii_control() || " ~^:?*[\\".contains(c))
        {
            Some("it contains a space, a control character or one of ~ ^ : ? * [ \\")
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

/// What a reference turned out to be in its remote.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ResolvedReference {
    /// The commit; an annotated tag is followed to what it points at.
    pub commit: CommitId,
    /// The full name of the reference, such as `refs/heads/master`; none for a bare SHA-1.
    pub name: Option<String>,
}

impl ResolvedReference {
    /// Returns the branch's or tag's short name, such as `master` or `v1.0`; none for a bare SHA-1.
    pub fn short_name(&self) -> Option<&str> {
        let name = self.name.as_deref()?;
        ["refs/heads/", "refs/tags/", "refs/"]
            .iter()
            .find_map(|prefix| name.strip_prefix(prefix))
            .or(Some(name))
    }

    /// Returns the branch's name where the reference is a branch.
    pub fn branch(&self) -> Option<&str> {
        self.name.as_deref()?.strip_prefix("refs/heads/")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_know_their_candidates() {
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
    fn illegal_references_are_refused() {
        for wrong in [
            "", "-x", "a..b", "a b", "a~1", "a:", "/a", "a/", "a//b", ".a", "x.lock", "@{u}", "a.",
        ] {
            assert!(wrong.parse::<GitReference>().is_err(), "{wrong}");
        }
    }
}
