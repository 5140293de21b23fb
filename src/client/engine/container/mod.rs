//! Builder containers: their scripts, programs and files.

pub mod archive;
pub mod builder;
pub mod copy_back;
pub mod main_shell;
pub mod pipe;
pub mod program;
pub mod source_upload;
pub mod spec;
