//! The cases, one per file.

pub mod archive;
pub mod changed;
pub mod clean;
pub mod cold;
pub mod context;
pub mod items;
pub mod local;
pub mod nothing;
pub mod planning;
pub mod refs;
pub mod sidecars;
pub mod sources;
pub mod start;
pub mod steps;
pub mod sync;
pub mod unrelated;
pub mod waiting;
pub mod watch;
