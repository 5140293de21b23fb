//! Helpers that know nothing about xp: the caller, errors, plurals, suggestions, tables, quoting, atomic files.

pub mod caller;
pub mod error;
pub mod files;
pub mod job;
pub mod plural;
pub mod seconds;
pub mod shell;
pub mod suggest;
pub mod table;
pub mod task;
