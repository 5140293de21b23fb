//! Keys of results.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};
use thiserror::Error;

use crate::base::text::{read_as_text, write_as_text};
use crate::model::image::Tag;

/// The SHA-256 of everything that a phase depends on.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StepKey([u8; 32]);

/// A text is not the key of a result.
#[derive(Debug, Error)]
#[error("invalid key `{0}`: expected 64 hexadecimal digits")]
pub struct InvalidStepKey(String);

impl StepKey {
    /// Returns the key of a text.
    pub fn of(text: &[u8]) -> Self {
        Self(Sha256::digest(text).into())
    }

    /// Returns the tag of the artifact in the service's repository: `step-<key>`.
    pub fn tag(&self) -> Tag {
        Tag::from_step(&self.0)
    }
}

impl fmt::Display for StepKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for StepKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

write_as_text!(StepKey);
read_as_text!(StepKey);

impl FromStr for StepKey {
    type Err = InvalidStepKey;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut digest = [0; 32];
        // A key has one text: that of a file name and a tag.
        let is_lower = !text.contains(|c: char| c.is_ascii_uppercase());
        match hex::decode_to_slice(text, &mut digest) {
            Ok(()) if is_lower => Ok(Self(digest)),
            _ => Err(InvalidStepKey(text.to_owned())),
        }
    }
}
