//! Attaches the caller's terminal, streams and signals to a program in a container.
//!
//! With a terminal on both sides, keys are sent raw, Ctrl-C included, and the container's terminal interprets
//! them. Otherwise standard input, output and error are separate streams, byte for byte, and signals are
//! forwarded.

mod attach;
pub mod client;
mod raw_mode;
mod signals;
mod streams;

use std::io::IsTerminal as _;

use rustix::termios::tcgetwinsize;

pub use attach::attach;
pub use signals::Signals;

use crate::base::job;
use crate::client::engine::TerminalSize;

/// The size of a terminal that does not report one.
const DEFAULT_SIZE: TerminalSize = TerminalSize {
    columns: 80,
    rows: 24,
};

/// How a program is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connection {
    /// A terminal of this size.
    Terminal(TerminalSize),
    /// Three streams.
    Streams {
        /// Whether to forward standard input. A background process must not read from the terminal.
        reads: bool,
    },
}

impl Connection {
    /// Returns a terminal if standard input and output are one and xp is in the foreground, unless
    /// `wanted` says which to use.
    pub fn for_caller(wanted: Option<bool>) -> Self {
        let input = std::io::stdin();
        let is_terminal = input.is_terminal();
        let is_foreground = is_terminal && job::is_foreground(&input);
        let both = is_foreground && std::io::stdout().is_terminal();
        if wanted.unwrap_or(both) {
            Self::Terminal(size().unwrap_or(DEFAULT_SIZE))
        } else {
            Self::Streams {
                reads: !is_terminal || is_foreground,
            }
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

/// Returns the current size of the terminal.
fn size() -> Option<TerminalSize> {
    let size = tcgetwinsize(std::io::stdout()).ok()?;
    (size.ws_col > 0 && size.ws_row > 0).then_some(TerminalSize {
        columns: size.ws_col,
        rows: size.ws_row,
    })
}
