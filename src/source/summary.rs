//! What a commit says about itself, for people.

use super::CommitId;

/// A commit as a list of changes shows it.
///
/// Author and subject are whatever somebody committed: see to it that they cannot harm where they are
/// shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitSummary {
    /// The commit.
    pub commit: CommitId,
    /// The author's name, as in the commit.
    pub author: String,
    /// When it was written: seconds since 1970.
    pub time: i64,
    /// The time zone of its author: minutes east of Greenwich.
    pub offset_minutes: i32,
    /// The first paragraph of its message, in one line.
    pub subject: String,
    /// Whether it merges others.
    pub is_merge: bool,
}
