//! Shell completion.
//!
//! The shell scripts call `xp __complete` on each Tab, so that services, builders, branches and runs of the
//! current platform are completed. [`line`] splits the typed line, [`place`] and [`reader`] match it against the
//! clap definition, [`candidates`] collects local values, and [`answer`] writes them in the shell's format.
//!
//! Errors, such as an invalid manifest, result in no candidates: a message would garble the command line. No
//! server is queried.

mod answer;
mod candidates;
mod line;
mod place;
mod reader;

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::cli::Shell;
use crate::host::settings::Settings;
use line::Line;

/// Time limit, in case a file system hangs.
const TIMEOUT: Duration = Duration::from_secs(2);

/// A possible completion.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    /// The completed text.
    text: String,
    /// A short description; may be empty.
    about: String,
}

/// Returns the completion script of a shell.
pub fn script(shell: Shell) -> &'static str {
    match shell {
        Shell::Bash => include_str!("scripts/xp.bash"),
        Shell::Zsh => include_str!("scripts/xp.zsh"),
        Shell::Fish => include_str!("scripts/xp.fish"),
    }
}

/// Returns the completions of a command line, in the format of the shell's script.
///
/// For bash, `typed` is `COMP_WORDBREAKS` and the line up to the cursor; for other shells it is the words
/// up to the cursor, the last one as typed.
pub fn answer(shell: Shell, typed: &[String], settings: Settings) -> String {
    let (sender, receiver) = mpsc::channel();
    let line = match (shell, typed) {
        (Shell::Bash, [breaks, line]) => Line::split(line, breaks),
        (Shell::Bash, _) => return String::new(),
        _ => Line::of_words(typed),
    };
    // In a thread, because a working copy may be on an unresponsive network file system.
    thread::spawn(move || {
        let target = place::find(crate::cli::command(), &line);
        let candidates = candidates::find(&target, settings);
        _ = sender.send(answer::write(shell, &line, &target, candidates));
    });
    receiver.recv_timeout(TIMEOUT).unwrap_or_default()
}
