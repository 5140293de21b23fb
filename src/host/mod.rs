//! The machine and the terminal that xp runs in.

pub mod console;
pub mod settings;
