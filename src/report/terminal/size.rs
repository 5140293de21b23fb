//! The terminal's size and echo settings.

use std::os::fd::AsFd;

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

use crate::base::job;

/// The size of a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    pub columns: usize,
    pub rows: usize,
}

/// Returns the size of a terminal, or 80×24 if it is unknown.
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

/// Returns the number of columns of a terminal, or `None` if it is not one.
pub fn columns(terminal: impl AsFd) -> Option<usize> {
    let size = tcgetwinsize(terminal).ok()?;
    Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
}

/// Keeps the terminal from echoing Ctrl-C as `^C`, which would shift the bars, until this is dropped.
/// Other keys are echoed as usual.
pub struct NoControlEcho {
    before: Termios,
}

impl NoControlEcho {
    /// Returns `None` if standard error is not a terminal, or xp is not in its foreground process group.
    pub fn begin() -> Option<Self> {
        let terminal = std::io::stderr();
        // A background process is stopped if it changes the terminal.
        if !job::is_foreground(&terminal) {
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
