//! Cloning and fetching.

pub mod clone;
pub mod progress;
pub mod shallow;
pub mod update;
