//! The tests, by subject.

mod docs;
mod world;

use crate::case::Case;

/// Returns all tests.
pub fn all() -> Vec<Case> {
    [docs::CASES, world::CASES].concat()
}
