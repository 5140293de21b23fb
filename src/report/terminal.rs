//! The terminal: how large it is, and what it shows of keys.

use std::os::fd::AsFd;

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

use crate::job;

/// How large a terminal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// How many columns it has.
    pub columns: usize,
    /// How many rows it has.
    pub rows: usize,
}

/// Returns how large a terminal is; what does not know it is taken for one of the usual size.
pub fn size(terminal: impl AsFd) -> Size {
    let found = tcgetwinsize(terminal).ok();
    let or = |found: Option<u16>, usual| match found {
        None | Some(0) => usual,
        Some(found) => usize::from(found),
    };
    Size {
        columns: or(found.map(|size| size.ws_col), 80),
        rows: or(found.map(|size| size.ws_row), 24),
    }
}

/// Returns how many columns a terminal has; nothing for what is no terminal.
pub fn columns(terminal: impl AsFd) -> Option<usize> {
    let size = tcgetwinsize(terminal).ok()?;
    Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
}

/// Keeps the terminal from showing Ctrl-C as `^C`, which would push the bars out of their place,
/// until this is dropped. Other keys are shown as ever.
pub struct NoControlEcho {
    before: Termios,
}

impl NoControlEcho {
    /// Returns nothing where standard error is no terminal, or another process has its keys.
    pub fn begin() -> Option<Self> {
        let terminal = std::io::stderr();
        // A process in the background would be stopped for changing the terminal.
        if !job::has_keys_of(&terminal) {
            return None;
        }
        let before = tcgetattr(&terminal).ok()?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHOCTL);
        tcsetattr(&terminal, OptionalActions::Now, &quiet).ok()?;
        Some(Self { before })
    }
}

impl Drop for NoControlEcho {
    fn drop(&mut self) {
        _ = tcsetattr(std::io::stderr(), OptionalActions::Now, &self.before);
    }
}
