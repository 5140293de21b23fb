//! Digests of image content.

use std::fmt;
use std::str::FromStr;

use super::name::{InvalidImageName, invalid};

/// The digest of an image manifest or a layer, such as `sha256:…`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(String);

impl Digest {
    /// Returns the digest as text, including the algorithm.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Digest {
    type Err = InvalidImageName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WHAT: &str = "digest";
        let Some((algorithm, hex)) = text.split_once(':') else {
            return invalid(text, WHAT, "expected `sha256:…`");
        };
        if algorithm.is_empty()
            || !algorithm
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "+._-".contains(c))
            || hex.len() < 32
            || !hex
                .chars()
                .all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c))
        {
            return invalid(text, WHAT, "expected `sha256:` and 64 hexadecimal digits");
        }
        Ok(Self(text.to_owned()))
    }
}
