//! `xp completions`, and the hidden command that its scripts call
//!
//! Errors, such as an invalid manifest, result in no candidates: a message would garble the command line. No
//! server is queried.

mod candidates;

use std::ffi::OsString;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::base::error::Failure;
use crate::cli::complete::{self, PartialLine};
use crate::cli::{Global, Shell};
use crate::host::settings::Settings;

/// Time limit, in case a file system hangs.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Prints the completion script for a shell.
pub fn script(shell: Shell) -> Result<(), Failure> {
    super::print(complete::script(shell))
}

/// Prints the completions of a partial command line.
pub fn print_candidates(global: &Global, shell: Shell, typed: &[OsString]) -> Result<(), Failure> {
    let typed: Vec<String> = typed
        .iter()
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    let (Ok(settings), Some(line)) = (Settings::read(global), PartialLine::parse(shell, &typed))
    else {
        return Ok(());
    };
    let (sender, receiver) = mpsc::channel();
    // In a thread, because a working copy may be on an unresponsive network file system.
    thread::spawn(move || {
        let candidates = candidates::find(line.target(), settings);
        _ = sender.send(line.render(candidates));
    });
    super::print(&receiver.recv_timeout(TIMEOUT).unwrap_or_default())
}
