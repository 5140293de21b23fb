//! Clients of git, container engines, registries, clusters and compose: the only modules that use the crates for git, the
//! engine and HTTP, and that run other programs to do work.

pub mod compose;
pub mod cosign;
pub mod engine;
pub mod git;
pub mod http;
pub mod kubectl;
mod output_tail;
pub mod registry;
pub mod retry;
pub mod timeouts;
