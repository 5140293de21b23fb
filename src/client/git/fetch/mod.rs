//! Cloning and fetching.

pub mod clone;
pub mod shallow;
pub mod update;
