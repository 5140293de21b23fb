//! The signals that xp gets while a program runs, and what they are to the program.

use std::fs;
use std::io;

use rustix::process::{Signal, getpid, kill_process};
use tokio::signal::unix::{self, SignalKind};
use tokio::sync::mpsc;

use crate::client::engine::Addressee;
use crate::job;

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// It is the program's, under that name.
    PassOn(&'static str, Addressee),
    /// The terminal is gone, and the program is told.
    HangUp,
    /// The terminal has another size.
    Resize,
    /// Ctrl-Z.
    Suspend,
}

/// Keys of a terminal reach all of a command, and `kill` reaches the one process that it names.
const REQUESTS: &[(Signal, Request)] = &[
    (Signal::INT, Request::PassOn("INT", Addressee::Group)),
    (Signal::QUIT, Request::PassOn("QUIT", Addressee::Group)),
    (Signal::TERM, Request::PassOn("TERM", Addressee::Program)),
    (Signal::USR1, Request::PassOn("USR1", Addressee::Program)),
    (Signal::USR2, Request::PassOn("USR2", Addressee::Program)),
    (Signal::HUP, Request::HangUp),
    (Signal::WINCH, Request::Resize),
    (Signal::TSTP, Request::Suspend),
];

/// The signals, as requests.
pub struct Signals(mpsc::UnboundedReceiver<Request>);

impl Signals {
    /// Begins to listen.
    ///
    /// A signal that xp was started to ignore, as by `nohup`, is ignored on. Ctrl-C is not: xp itself
    /// listens for it already.
    ///
    /// # Errors
    ///
    /// Where the system refuses.
    pub fn listen() -> io::Result<Self> {
        let (sender, requests) = mpsc::unbounded_channel();
        let ignored = ignored();
        for (signal, request) in REQUESTS {
            let number = signal.as_raw();
            if *request == Request::Suspend && !job::can_be_resumed()
                || ignored & (1 << (number - 1)) != 0
            {
                continue;
            }
            let mut stream = unix::signal(SignalKind::from_raw(number))?;
            let sender = sender.clone();
            tokio::spawn(async move {
                while stream.recv().await.is_some() && sender.send(*request).is_ok() {}
            });
        }
        Ok(Self(requests))
    }

    /// Waits for the next one; none where nothing is listened for.
    pub(super) async fn next(&mut self) -> Option<Request> {
        self.0.recv().await
    }

    /// Waits for one that ends a program which does not handle it, and returns its exit code then.
    pub async fn ending(&mut self) -> u8 {
        while let Some(request) = self.next().await {
            match request {
                Request::PassOn("INT", _) => return 130,
                Request::PassOn("QUIT", _) => return 131,
                Request::PassOn("TERM", _) => return 143,
                Request::HangUp => return 129,
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

/// Returns the set of signals that are ignored, the lowest bit for the first one.
fn ignored() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let set = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    set.and_then(|set| u64::from_str_radix(set.trim(), 16).ok())
        .unwrap_or(0)
}
