//! The tests, by subject.

mod git_export;
mod git_references;
mod git_sync;
mod git_transports;
mod world;

use crate::case::Case;

/// Returns all tests.
pub fn all() -> Vec<Case> {
    [
        git_export::CASES,
        git_references::CASES,
        git_sync::CASES,
        git_transports::CASES,
        world::CASES,
    ]
    .concat()
}
