//! Raw mode of the terminal.

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

/// Raw mode of standard input, until this is dropped.
pub struct RawMode {
    before: Option<Termios>,
}

impl RawMode {
    /// Enables raw mode if standard input is a terminal.
    pub fn begin() -> Self {
        let before = tcgetattr(std::io::stdin()).ok();
        let raw = Self { before };
        raw.enable();
        raw
    }

    /// Enables raw mode again after [`RawMode::restore`].
    pub fn enable(&self) {
        if let Some(mut raw_termios) = self.before.clone() {
            raw_termios.make_raw();
            _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &raw_termios);
        }
    }

    /// Restores the original mode, while xp is suspended.
    pub fn restore(&self) {
        if let Some(before) = &self.before {
            _ = tcsetattr(std::io::stdin(), OptionalActions::Now, before);
        }
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        self.restore();
    }
}
