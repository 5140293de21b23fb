//! The tests, by subject.

mod builder;
mod world;

use crate::case::Case;

/// Returns all tests.
pub fn all() -> Vec<Case> {
    [world::CASES, builder::CASES].concat()
}
