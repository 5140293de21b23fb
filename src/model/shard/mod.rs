//! Shards: the parts of a build that several machines share. Pure.
//!
//! Each machine computes the split itself, so it depends only on the manifest, the selected services, the number of
//! shards, and the durations that all machines get from the same files.

mod pieces;
mod split;
#[cfg(test)]
mod tests;
mod times;

use std::fmt;
use std::str::FromStr;

pub use split::split;
pub use times::ShardTimes;

/// The maximum number of shards.
pub const MAX_SHARDS: u16 = 1000;

/// One of several shards, such as `2/8`: the second of eight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Shard {
    number: u16,
    count: u16,
}

impl Shard {
    /// Returns all shards.
    pub fn all(count: u16) -> impl Iterator<Item = Self> {
        (1..=count).map(move |number| Self { number, count })
    }

    /// Returns the number of shards.
    pub fn count(self) -> u16 {
        self.count
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.count)
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text.split_once('/').and_then(|(number, count)| {
            let (number, count) = (number.parse().ok()?, count.parse().ok()?);
            Some(Self { number, count })
        });
        parsed
            .filter(|it| (1..=it.count).contains(&it.number) && it.count <= MAX_SHARDS)
            .ok_or_else(|| {
                format!(
                    "write K/N, such as 2/8 for the second of eight parts (at most {MAX_SHARDS})"
                )
            })
    }
}
