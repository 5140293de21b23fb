//! Containers: builders with their scripts, programs and files; plugins and sidecars.

pub mod archive;
pub mod builder;
pub mod copy_back;
mod health;
pub mod held;
pub mod holder;
pub mod main_shell;
pub mod pipe;
pub mod program;
pub mod project;
pub mod source_files;
pub mod source_upload;
pub mod spec;
