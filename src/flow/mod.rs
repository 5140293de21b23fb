//! Use cases: which commits, which images, what to deploy.

pub mod deploy;
pub mod diagnose;
pub mod discover;
pub mod failed_step;
pub mod failure;
pub mod plan;
pub mod session;
pub mod sources;
pub mod survey;
pub mod workbench;
