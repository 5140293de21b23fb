//! Rules of git's configuration that replace the start of URLs.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::GitUrl;

/// A rule of git's `url.<base>.insteadOf`
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UrlRule {
    /// The start of URLs to replace
    pub instead_of: String,
    /// What replaces it; it may contain a login
    pub base: String,
}

impl UrlRule {
    /// Returns a URL that starts with `instead_of` after replacing that; `None` if the result is invalid.
    pub fn apply(&self, url: &GitUrl) -> Option<GitUrl> {
        let rest = url.expose().strip_prefix(&self.instead_of)?;
        format!("{}{rest}", self.base).parse().ok()
    }
}

impl fmt::Debug for UrlRule {
    /// Hides the base, because it may contain a login.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UrlRule({})", self.instead_of)
    }
}
