//! Working copies: status, checkout, export, and attributes that change files.

pub mod checkout;
pub mod conversion;
pub mod export;
pub mod facts;
pub mod git_modules;
pub mod index_file;
pub mod move_head;
pub mod partial_move;
pub mod quoted_patterns;
mod source_folders;
pub mod sparse;
pub mod stale_locks;
pub mod state;
pub mod status;
pub mod submodules;
pub mod tree;
pub mod working_copy;
