//! The `.xp` folder: its layout, its lock, cached facts, results of phases, past runs, and the manifest's lock file.

pub mod cache;
pub mod cache_entries;
pub mod claim;
pub mod lock_file;
pub mod run_marker;
pub mod runs;
pub mod step_archive;
pub mod step_results;
