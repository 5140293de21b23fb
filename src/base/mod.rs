//! Helpers that know nothing about xp: the caller, errors, plurals, suggestions, tables, units, quoting,
//! escaping, redaction, path patterns, atomic files, removal of folders.

pub mod caller;
pub mod error;
pub mod escape;
pub mod files;
pub mod job;
pub mod nonce;
pub mod plural;
pub mod redact;
pub mod sanitize;
pub mod seconds;
pub mod shell;
pub mod suggest;
pub mod table;
pub mod task;
pub mod text;
pub mod tree;
pub mod units;
pub mod wildmatch;
