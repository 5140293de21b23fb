//! The caller's terminal, streams and signals, tied to a program in a container.
//!
//! With a terminal at both ends its keys go to the program as they are typed, Ctrl-C included, and the
//! container's own terminal makes of them what it makes. Without one, standard input, output and error
//! stay three streams, byte for byte, and signals are passed on.

pub mod client;
mod end;
mod raw;
mod signals;
mod streams;

use std::io::IsTerminal as _;

use rustix::termios::tcgetwinsize;

pub use end::attach;
pub use signals::Signals;

use crate::client::engine::TerminalSize;
use crate::job;

/// The size where a terminal does not tell its own.
const USUAL_SIZE: TerminalSize = TerminalSize {
    columns: 80,
    rows: 24,
};

/// How a program is tied to what xp was started with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connection {
    /// A terminal, of that size.
    Terminal(TerminalSize),
    /// Three streams.
    Streams {
        /// Whether there is an input: a process in the background must not take the keys of the terminal.
        reads: bool,
    },
}

impl Connection {
    /// Returns a terminal where standard input and output are one and its keys are for xp, unless it was
    /// said which of both it is to be.
    pub fn of_the_caller(wanted: Option<bool>) -> Self {
        let input = std::io::stdin();
        let is_terminal = input.is_terminal();
        let in_front = is_terminal && job::has_keys_of(&input);
        let both = in_front && std::io::stdout().is_terminal();
        match wanted.unwrap_or(both) {
            true => Self::Terminal(size().unwrap_or(USUAL_SIZE)),
            false => Self::Streams {
                reads: !is_terminal || in_front,
            },
        }
    }

    /// Returns the size of the terminal, if it is one.
    pub fn terminal(self) -> Option<TerminalSize> {
        match self {
            Self::Terminal(size) => Some(size),
            Self::Streams { .. } => None,
        }
    }
}

/// Returns the size of the terminal as it is now.
fn size() -> Option<TerminalSize> {
    let size = tcgetwinsize(std::io::stdout()).ok()?;
    (size.ws_col > 0 && size.ws_row > 0).then_some(TerminalSize {
        columns: size.ws_col,
        rows: size.ws_row,
    })
}
