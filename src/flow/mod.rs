//! Use cases: select commits, find images, build, lock and deploy.

pub mod build;
mod builder_folders;
pub mod changes;
pub mod check;
pub mod clean;
mod compose_program;
pub mod copy;
pub mod deploy;
pub mod diagnose;
pub mod discover;
pub mod failed_step;
pub mod failure;
pub mod interrupts;
pub mod lock;
pub mod metadata_file;
pub mod plan;
pub mod platform_schema;
pub mod programs;
pub mod request;
pub mod runs;
pub mod session;
pub mod shards;
pub mod sources;
pub mod step_results;
pub mod survey;
pub mod watch;
pub mod workbench;
