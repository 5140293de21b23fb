//! The tests, by subject.

mod credentials;
mod decisions;
mod refusals;
mod requests;
mod small;
mod world;

use crate::case::Case;

/// Returns all tests.
pub fn all() -> Vec<Case> {
    [
        credentials::CASES,
        decisions::CASES,
        refusals::CASES,
        requests::CASES,
        world::CASES,
    ]
    .concat()
}
