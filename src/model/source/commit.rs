//! Commit IDs.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::base::text::{read_as_text, write_as_text};

/// The SHA-1 of a commit: always 40 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CommitId([u8; 20]);

impl CommitId {
    /// Creates a commit ID from its 20 raw bytes.
    pub const fn from_bytes(bytes: [u8; 20]) -> Self {
        Self(bytes)
    }

    /// Returns the 20 raw bytes.
    pub const fn as_bytes(&self) -> &[u8; 20] {
        &self.0
    }

    /// Returns the first eight digits, only for display, never for tags or comparisons.
    pub fn short(&self) -> String {
        self.to_string()[..8].to_owned()
    }

    /// Returns whether a text may be an abbreviated commit: 7 to 39 hexadecimal digits.
    pub fn is_shortened(text: &str) -> bool {
        (7..40).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
    }
}

impl fmt::Display for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut digits = [0; 40];
        hex::encode_to_slice(self.0, &mut digits).map_err(|_| fmt::Error)?;
        f.write_str(str::from_utf8(&digits).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CommitId({self})")
    }
}

/// A commit ID that is not 40 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("invalid commit `{0}`: expected a full SHA-1 with 40 hexadecimal digits")]
pub struct InvalidCommitId(String);

impl FromStr for CommitId {
    type Err = InvalidCommitId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidCommitId(text.to_owned());
        if text.len() != 40 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(invalid());
        }
        let mut bytes = [0; 20];
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte =
                u8::from_str_radix(&text[2 * index..2 * index + 2], 16).map_err(|_| invalid())?;
        }
        Ok(Self(bytes))
    }
}

write_as_text!(CommitId);
read_as_text!(CommitId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commit_ids_are_forty_hex_digits() {
        let text = "1b1bD2d0a7a0d8f0d8f0d8f0d8f0d8f0d8f0d8fF";
        let commit: CommitId = text.parse().unwrap();
        assert_eq!(commit.to_string(), text.to_ascii_lowercase());
        for invalid in [
            "",
            "1b1b",
            &text[1..],
            &format!("{text}0"),
            &text.replace('1', "g"),
        ] {
            assert!(invalid.parse::<CommitId>().is_err(), "{invalid}");
        }
    }

    #[test]
    fn abbreviated_commits() {
        let is = CommitId::is_shortened;
        assert!(is("102e3ad3") && is(&"a".repeat(39)));
        assert!(!is("102e3a") && !is(&"a".repeat(40)) && !is("102e3adx"));
    }
}
