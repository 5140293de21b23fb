//! The sources of services: the commit, its origin, and how it was selected.

pub mod commits;
pub mod current_service;
pub mod history;
pub mod input_files;
pub mod local;
pub mod local_sources;
pub mod locked;
pub mod plugin;
pub mod resolve;
pub mod unpushed;
pub mod working_copies;
