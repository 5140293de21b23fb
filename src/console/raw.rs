//! A terminal whose keys come as they are typed.

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

/// Has the terminal hand every key on, and show none by itself, until this is dropped.
pub struct Raw {
    before: Option<Termios>,
}

impl Raw {
    /// Changes the terminal, if standard input is one.
    pub fn begin() -> Self {
        let before = tcgetattr(std::io::stdin()).ok();
        let raw = Self { before };
        raw.again();
        raw
    }

    /// Changes it again, after [`Raw::pause`].
    pub fn again(&self) {
        if let Some(mut changed) = self.before.clone() {
            changed.make_raw();
            _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &changed);
        }
    }

    /// Leaves the terminal as it was, for as long as xp does not run.
    pub fn pause(&self) {
        if let Some(before) = &self.before {
            _ = tcsetattr(std::io::stdin(), OptionalActions::Now, before);
        }
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        self.pause();
    }
}
