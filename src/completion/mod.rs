//! Completion of a command line that is being typed, for `xp completions`.
//!
//! A shell's script asks `xp` itself at each press of the key, so that services, builders, branches and
//! runs are those of the platform at hand. [`line`] reads what was typed, [`place`] and [`reader`] find in the
//! definition of the command line what may stand there, [`candidates`] looks for values on this
//! machine, [`answer`] writes them as each shell takes them.
//!
//! Whatever goes wrong, such as a manifest with an error, there are no candidates: an error in the midst
//! of a line would help nobody. No server is asked.

mod answer;
mod candidates;
mod line;
mod place;
mod reader;

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::cli::Shell;
use crate::settings::Settings;
use line::Line;

/// How long a person may be kept waiting, should a file system not answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Something that can stand at the cursor.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    /// What would stand there.
    text: String,
    /// What it is, in a few words; may be empty.
    about: String,
}

/// Returns the script that teaches a shell to complete `xp`.
pub fn script(shell: Shell) -> &'static str {
    match shell {
        Shell::Bash => include_str!("scripts/xp.bash"),
        Shell::Zsh => include_str!("scripts/xp.zsh"),
        Shell::Fish => include_str!("scripts/xp.fish"),
    }
}

/// Returns what the shell's script is told about a line that is being typed.
///
/// Of bash, `typed` is its `COMP_WORDBREAKS` and the line up to the cursor; of the other shells it
/// is the words up to the cursor, the last one as it was typed.
pub fn answer(shell: Shell, typed: &[String], settings: Settings) -> String {
    let (sender, receiver) = mpsc::channel();
    let line = match (shell, typed) {
        (Shell::Bash, [breaks, line]) => Line::split(line, breaks),
        (Shell::Bash, _) => return String::new(),
        _ => Line::of_words(typed),
    };
    // On a thread of its own, because a working copy may lie on a server that is gone.
    thread::spawn(move || {
        let place = place::find(crate::cli::command(), &line);
        let found = candidates::find(&place, settings);
        _ = sender.send(answer::write(shell, &line, &place, found));
    });
    receiver.recv_timeout(PATIENCE).unwrap_or_default()
}
