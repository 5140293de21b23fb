//! The tests, by subject.

mod world;

use crate::case::Case;

/// Returns all tests.
pub fn all() -> Vec<Case> {
    [world::CASES].concat()
}
