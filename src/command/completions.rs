//! `xp completions`, and what its scripts ask

use std::ffi::OsString;

use crate::cli::{Global, Shell};
use crate::completion;
use crate::error::Failure;
use crate::settings::Settings;

/// Prints the script for a shell.
pub fn script(shell: Shell) -> Result<(), Failure> {
    super::print(completion::script(shell))
}

/// Answers a shell's script. Whatever goes wrong, a person who is typing gets no error.
pub fn answer(global: &Global, shell: Shell, typed: &[OsString]) -> Result<(), Failure> {
    let typed: Vec<String> = typed
        .iter()
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    match Settings::read(global) {
        Ok(settings) => super::print(&completion::answer(shell, &typed, settings)),
        Err(_) => Ok(()),
    }
}
