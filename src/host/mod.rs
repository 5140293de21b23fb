//! The machine and the terminal that xp runs in.

pub mod console;
pub mod file_watch;
pub mod settings;
