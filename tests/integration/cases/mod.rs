//! The tests, by subject.

mod credentials;
mod decisions;
mod publish;
mod refusals;
mod requests;
mod small;
mod world;

use crate::case::Case;

/// Returns all tests.
pub fn all() -> Vec<Case> {
    [
        // Begins with the longest: an engine gives a dead registry a minute.
        publish::CASES,
        credentials::CASES,
        decisions::CASES,
        refusals::CASES,
        requests::CASES,
        world::CASES,
    ]
    .concat()
}
