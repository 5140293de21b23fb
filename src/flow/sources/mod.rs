//! The sources of services: which commit, from where, and who chose it.

pub mod commits;
pub mod current_service;
pub mod history;
pub mod local;
pub mod local_sources;
pub mod locked;
pub mod resolve;
pub mod unpushed;
pub mod working_copies;
