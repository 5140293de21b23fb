//! The tests, by subject.

mod git_export;
mod git_logins;
mod git_references;
mod git_ssh;
mod git_sync;
mod git_transports;
mod git_user_work;
mod world;

use crate::case::Case;

/// Returns all tests.
pub fn all() -> Vec<Case> {
    [
        git_export::CASES,
        git_logins::CASES,
        git_references::CASES,
        git_ssh::CASES,
        git_sync::CASES,
        git_transports::CASES,
        git_user_work::CASES,
        world::CASES,
    ]
    .concat()
}
