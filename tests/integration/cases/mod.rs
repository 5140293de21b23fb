//! The tests, by subject.

mod credentials;
mod decisions;
mod docs;
mod git_export;
mod git_logins;
mod git_references;
mod git_ssh;
mod git_sync;
mod git_transports;
mod git_user_work;
mod manifest;
mod plan;
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
        manifest::CASES,
        plan::CASES,
        credentials::CASES,
        decisions::CASES,
        docs::CASES,
        git_export::CASES,
        git_logins::CASES,
        git_references::CASES,
        git_ssh::CASES,
        git_sync::CASES,
        git_transports::CASES,
        git_user_work::CASES,
        refusals::CASES,
        requests::CASES,
        world::CASES,
    ]
    .concat()
}
