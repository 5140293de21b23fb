//! Ctrl-C and other signals to xp itself.

use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::base::error::{Exit, Failure};
use crate::model::event::Event;
use crate::report::Reporter;

/// The handler of signals, installed once per process; cheap to clone.
#[derive(Clone)]
pub struct Interrupts {
    /// Cancelled by Ctrl-C.
    pub cancel: CancellationToken,
    /// Set once signals are handled by a program that xp runs.
    handed_over: Arc<AtomicBool>,
    /// Shows the interrupt, and redraws after Ctrl-Z; `None` while nothing runs.
    reporter: Arc<Mutex<Option<Reporter>>>,
}

impl Interrupts {
    /// Handles signals. The first Ctrl-C or SIGTERM stops the work gracefully, the second ends the process immediately.
    /// SIGCONT, after Ctrl-Z, redraws the progress bars.
    ///
    /// Runs on a separate thread and runtime, because all other threads may block on a terminal or pipe that is not
    /// read.
    ///
    /// # Errors
    ///
    /// If a handler cannot be installed.
    pub fn listen() -> Result<Self, Failure> {
        let failed =
            |error: std::io::Error| Failure::outside(format!("cannot receive signals: {error}"));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(failed)?;
        let (mut interrupt, mut terminate, mut resume) = {
            let _entered = runtime.enter();
            let signal = |kind| signal(kind).map_err(failed);
            let resumed = SignalKind::from_raw(rustix::process::Signal::CONT.as_raw());
            (
                signal(SignalKind::interrupt())?,
                signal(SignalKind::terminate())?,
                signal(resumed)?,
            )
        };
        let interrupts = Self {
            cancel: CancellationToken::new(),
            handed_over: Arc::default(),
            reporter: Arc::default(),
        };
        let handler = interrupts.clone();
        std::thread::spawn(move || {
            runtime.block_on(async {
                loop {
                    tokio::select! {
                        _ = interrupt.recv() => handler.interrupt(),
                        _ = terminate.recv() => handler.interrupt(),
                        _ = resume.recv() => {
                            if let Some(reporter) = handler.reporter() {
                                std::thread::spawn(move || reporter.resume());
                            }
                        }
                    }
                }
            });
        });
        Ok(interrupts)
    }

    /// Shows signals with this reporter from now on, if any.
    pub fn show_with(&self, reporter: Option<Reporter>) {
        let current = self.reporter.lock();
        *current.unwrap_or_else(PoisonError::into_inner) = reporter;
    }

    /// Makes xp ignore signals from now on, because a program that it runs handles them.
    pub fn hand_over(&self) {
        self.handed_over.store(true, Ordering::Relaxed);
    }

    fn interrupt(&self) {
        if self.handed_over.load(Ordering::Relaxed) {
            return;
        }
        if self.cancel.is_cancelled() {
            // Containers are tied to a connection of this process, so they end with it.
            process::exit(Exit::Interrupted.code().into());
        }
        self.cancel.cancel();
        if let Some(reporter) = self.reporter() {
            std::thread::spawn(move || reporter.events().emit(Event::Interrupted));
        }
    }

    fn reporter(&self) -> Option<Reporter> {
        let reporter = self.reporter.lock();
        reporter.unwrap_or_else(PoisonError::into_inner).clone()
    }
}
