//! The sources of services: which commit, from where, and who chose it.

pub mod commits;
pub mod current_service;
pub mod history;
pub mod in_place;
pub mod local;
pub mod locked;
pub mod resolve;
pub mod unbuilt;
