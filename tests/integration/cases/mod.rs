//! The tests, by subject.

mod git_sync;
mod world;

use crate::case::Case;

/// Returns all tests.
pub fn all() -> Vec<Case> {
    [git_sync::CASES, world::CASES].concat()
}
