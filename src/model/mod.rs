//! The domain: data and decisions. Pure: no client, no clock, no environment.

pub mod check;
pub mod deploy;
pub mod dockerfile;
pub mod doctor;
pub mod engine;
pub mod environment;
pub mod event;
pub mod graph;
pub mod image;
pub mod init;
pub mod layout;
pub mod lock;
pub mod manifest;
pub mod metadata;
pub mod plan;
pub mod plan_document;
pub mod plugin;
pub mod recipe;
pub mod record;
pub mod shard;
pub mod source;
pub mod status;
pub mod step_result;
pub mod timeline;
pub mod trace;
pub mod watch;
