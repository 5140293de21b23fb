//! Why an image is kept or removed.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The rule that decided about an item
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// Kept: a lock names it
    Lock,
    /// Kept: it runs in an environment, or a container of the engine uses it
    Running,
    /// Kept: a deploy record names it
    Deployed,
    /// Kept: it is the image of the last commit of a branch or tag
    Tip,
    /// Kept: it is the current image of a builder
    CurrentBuilder,
    /// Kept: xp did not build it, or did not set one of its tags
    Foreign,
    /// Kept: it is of one of the last commits of a branch
    LastCommits,
    /// Kept: it is younger than the configured age
    Young,
    /// Kept: its age is unknown
    UnknownAge,
    /// Kept: a kept image needs it
    Needed,
    /// Kept: another xp uses it
    InUse,
    /// Removed: nothing names it
    Unused,
    /// Removed: the branch that it was built from no longer exists
    NoBranch,
    /// Removed: its service is not in the manifest
    NoService,
    /// Removed: it is a part of a removed image
    RemovedWith,
    /// Removed: the cache folder is larger than configured
    Size,
}

/// Why an item is kept or removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    pub rule: Rule,
    text: String,
}

impl Reason {
    /// Returns a reason with its explanation, such as `lock at tag v1.4`.
    pub fn new(rule: Rule, text: impl Into<String>) -> Self {
        Self {
            rule,
            text: text.into(),
        }
    }

    /// Returns the explanation.
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}
