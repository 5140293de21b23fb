//! The tests, by subject.

mod builder;
mod builder_images;
mod docs;
mod engine_alone;
mod image_build;
mod interrupt;
mod scripts;
mod world;

use crate::case::Case;

/// Returns all tests.
pub fn all() -> Vec<Case> {
    [
        world::CASES,
        builder::CASES,
        builder_images::CASES,
        docs::CASES,
        engine_alone::CASES,
        image_build::CASES,
        interrupt::CASES,
        scripts::CASES,
    ]
    .concat()
}
