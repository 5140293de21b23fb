//! The only modules that name the crates of git, of the engine, and of HTTP, and that start programs for work.

pub mod engine;
pub mod git;
pub mod http;
pub mod kubectl;
mod last_words;
pub mod registry;
pub mod retry;
pub mod timeouts;
