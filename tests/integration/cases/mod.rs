//! The tests, by subject.

mod builder;
mod image_build;
mod scripts;
mod world;

use crate::case::Case;

/// Returns all tests.
pub fn all() -> Vec<Case> {
    [
        world::CASES,
        builder::CASES,
        scripts::CASES,
        image_build::CASES,
    ]
    .concat()
}
