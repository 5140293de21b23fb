//! Signals to xp while a program runs, and how they affect the program.

use std::fs;
use std::io;

use rustix::process::{Signal, getpid, kill_process};
use tokio::signal::unix::{self, SignalKind};
use tokio::sync::mpsc;

use crate::base::job;
use crate::client::engine::SignalTarget;

/// The action for a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignalAction {
    /// Send the signal of that name to the program.
    Forward(&'static str, SignalTarget),
    /// The terminal was closed.
    HangUp,
    /// The terminal was resized.
    Resize,
    /// Ctrl-Z: stop the program and xp.
    Suspend,
}

/// Signals from keys go to the whole process group, those of `kill` to a single process.
const ACTIONS: &[(Signal, SignalAction)] = &[
    (
        Signal::INT,
        SignalAction::Forward("INT", SignalTarget::Group),
    ),
    (
        Signal::QUIT,
        SignalAction::Forward("QUIT", SignalTarget::Group),
    ),
    (
        Signal::TERM,
        SignalAction::Forward("TERM", SignalTarget::Program),
    ),
    (
        Signal::USR1,
        SignalAction::Forward("USR1", SignalTarget::Program),
    ),
    (
        Signal::USR2,
        SignalAction::Forward("USR2", SignalTarget::Program),
    ),
    (Signal::HUP, SignalAction::HangUp),
    (Signal::WINCH, SignalAction::Resize),
    (Signal::TSTP, SignalAction::Suspend),
];

/// A stream of signals, as actions.
pub struct Signals(mpsc::UnboundedReceiver<SignalAction>);

impl Signals {
    /// Installs the handlers.
    ///
    /// A signal that was ignored when xp started, as under `nohup`, stays ignored. Ctrl-C does not: xp itself
    /// handles it already.
    ///
    /// # Errors
    ///
    /// If a handler cannot be installed.
    pub fn listen() -> io::Result<Self> {
        let (sender, actions) = mpsc::unbounded_channel();
        let ignored = ignored();
        for (signal, action) in ACTIONS {
            let number = signal.as_raw();
            if *action == SignalAction::Suspend && !job::can_be_resumed()
                || ignored & (1 << (number - 1)) != 0
            {
                continue;
            }
            let mut stream = unix::signal(SignalKind::from_raw(number))?;
            let sender = sender.clone();
            tokio::spawn(async move {
                while stream.recv().await.is_some() && sender.send(*action).is_ok() {}
            });
        }
        Ok(Self(actions))
    }

    /// Waits for the next signal; `None` if there is no handler.
    pub(super) async fn next(&mut self) -> Option<SignalAction> {
        self.0.recv().await
    }

    /// Waits for a signal that kills a program by default, and returns the resulting exit code.
    pub async fn ending(&mut self) -> u8 {
        while let Some(action) = self.next().await {
            match action {
                SignalAction::Forward("INT", _) => return 130,
                SignalAction::Forward("QUIT", _) => return 131,
                SignalAction::Forward("TERM", _) => return 143,
                SignalAction::HangUp => return 129,
                _ => {}
            }
        }
        std::future::pending().await
    }
}

/// Stops this process until it is continued.
pub fn stop_here() {
    _ = kill_process(getpid(), Signal::STOP);
}

/// Returns the set of ignored signals as a bit mask; bit 0 is signal 1.
fn ignored() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let set = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    set.and_then(|set| u64::from_str_radix(set.trim(), 16).ok())
        .unwrap_or(0)
}
