//! The tests, by subject.

mod credentials;
mod decisions;
mod docs;
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
        docs::CASES,
        refusals::CASES,
        requests::CASES,
        world::CASES,
    ]
    .concat()
}
