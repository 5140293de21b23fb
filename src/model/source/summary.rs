//! Commit metadata for display.

use super::CommitId;

/// The metadata of a commit for a list of changes.
///
/// Author and subject are untrusted input: sanitize them before showing them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitSummary {
    pub commit: CommitId,
    /// The author's name, as in the commit.
    pub author: String,
    /// The author date, in seconds since 1970.
    pub time: i64,
    /// The author's time zone, in minutes east of UTC.
    pub offset_minutes: i32,
    /// The first paragraph of its message, on one line.
    pub subject: String,
    /// Whether it is a merge commit.
    pub is_merge: bool,
}
