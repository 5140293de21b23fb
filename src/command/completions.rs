//! `xp completions`, and the hidden command that its scripts call

use std::ffi::OsString;

use crate::base::error::Failure;
use crate::cli::{Global, Shell};
use crate::flow::complete;
use crate::host::settings::Settings;

/// Prints the completion script for a shell.
pub fn script(shell: Shell) -> Result<(), Failure> {
    super::print(complete::script(shell))
}

/// Prints the completions of a partial command line. Errors are swallowed: they would disturb the user's prompt.
pub fn answer(global: &Global, shell: Shell, typed: &[OsString]) -> Result<(), Failure> {
    let typed: Vec<String> = typed
        .iter()
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    match Settings::read(global) {
        Ok(settings) => super::print(&complete::answer(shell, &typed, settings)),
        Err(_) => Ok(()),
    }
}
