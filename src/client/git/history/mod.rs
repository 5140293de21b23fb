//! Commits: ancestry, logs, and the files of a revision.

pub mod ancestry;
pub mod folder_export;
pub mod input_files;
pub mod last_touched;
pub mod log;
pub mod path_trie;
pub mod reference_files;
pub mod revision;
pub mod selection_difference;
pub mod tree_cache;
pub mod tree_difference;
pub mod tree_paths;
