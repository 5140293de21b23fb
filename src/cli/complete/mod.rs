//! Shell completion.
//!
//! The shell scripts call `xp __complete` on each Tab, so that services, builders, branches and runs of the
//! current platform are completed. [`line`] splits the typed line, [`target`] and [`line_parser`] match it against the
//! clap definition, the command collects local values, and [`output`] writes them in the shell's format.

mod line;
mod line_parser;
mod output;
mod target;

pub use target::{CompletionTarget, ValueKind};

use super::Shell;
use line::CommandLine;

/// A possible completion.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct CompletionCandidate {
    /// The completed text.
    pub text: String,
    /// A short description; may be empty.
    pub about: String,
}

/// Returns the completion script of a shell.
pub fn script(shell: Shell) -> &'static str {
    match shell {
        Shell::Bash => include_str!("scripts/xp.bash"),
        Shell::Zsh => include_str!("scripts/xp.zsh"),
        Shell::Fish => include_str!("scripts/xp.fish"),
    }
}

/// A partial command line.
pub struct PartialLine {
    shell: Shell,
    line: CommandLine,
    target: CompletionTarget,
}

impl PartialLine {
    /// Parses the words that a completion script passes; `None` if it passed no line.
    ///
    /// For bash, `typed` is `COMP_WORDBREAKS` and the line up to the cursor; for other shells it is the words
    /// up to the cursor, the last one as typed.
    pub fn parse(shell: Shell, typed: &[String]) -> Option<Self> {
        let line = match (shell, typed) {
            (Shell::Bash, [breaks, line]) => CommandLine::split(line, breaks),
            (Shell::Bash, _) => return None,
            _ => CommandLine::of_words(typed),
        };
        let target = target::find(super::command(), &line);
        Some(Self {
            shell,
            line,
            target,
        })
    }

    /// Returns what to complete.
    pub fn target(&self) -> &CompletionTarget {
        &self.target
    }

    /// Writes the candidates in the format of the shell's script.
    pub fn render(&self, candidates: Vec<CompletionCandidate>) -> String {
        output::write(self.shell, &self.line, &self.target, candidates)
    }
}
