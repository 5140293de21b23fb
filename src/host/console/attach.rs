//! Runs a program in a container, attached to xp's own terminal or streams.

use std::time::Duration;

use tokio::task::JoinHandle;

use super::raw_mode::RawMode;
use super::signals::{SignalAction, Signals, stop_here};
use super::streams::{OutputEnd, drain, read_input, write_output};
use super::{Connection, size};
use crate::base::task::joined;
use crate::client::engine::{
    BuilderContainer, ContainerProgram, EngineError, ProgramInput, ProgramOutput, SignalTarget,
};

/// How long a program may keep running after its output or terminal was closed.
const GRACE: Duration = Duration::from_secs(5);

/// Exit codes of programs killed by a signal: 128 plus its number.
const HANGUP: i64 = 129;
const BROKEN_PIPE: i64 = 141;
/// The usual exit code of a program that cannot write its output.
const CANNOT_WRITE: i64 = 1;

/// Attaches a program to xp's terminal or streams until it ends, and returns its exit code. The terminal is
/// always restored.
///
/// # Errors
///
/// If the connection to the engine breaks, or the container ends before the program.
pub async fn attach(
    container: &BuilderContainer,
    started: (ContainerProgram, ProgramInput, ProgramOutput),
    signals: Signals,
    connection: Connection,
) -> Result<i64, EngineError> {
    let (program, input, output) = started;
    let raw_mode = connection.terminal().map(|_| RawMode::begin());
    let reads = match connection {
        Connection::Terminal(_) => true,
        Connection::Streams { reads } => reads,
    };
    let reading = tokio::spawn(read_input(input, reads, raw_mode.is_some()));
    let mut attached = AttachedProgram {
        container,
        program,
        raw_mode,
        signals,
        writing: tokio::spawn(write_output(output)),
    };
    // The terminal may have been resized since the program was started.
    if size() != connection.terminal() {
        attached.resize().await;
    }
    let code = attached.follow().await;
    reading.abort();
    code
}

struct AttachedProgram<'a> {
    container: &'a BuilderContainer,
    program: ContainerProgram,
    raw_mode: Option<RawMode>,
    signals: Signals,
    writing: JoinHandle<Result<OutputEnd, EngineError>>,
}

impl AttachedProgram<'_> {
    async fn follow(&mut self) -> Result<i64, EngineError> {
        loop {
            tokio::select! {
                written = &mut self.writing => return match joined(written)? {
                    OutputEnd::Complete => self.container.exit_code(&self.program).await,
                    OutputEnd::Closed(rest) => self.broken_pipe(rest, BROKEN_PIPE).await,
                    OutputEnd::WriteFailed(error, rest) => {
                        self.broken_pipe(rest, CANNOT_WRITE).await?;
                        Err(EngineError::Output(error))
                    }
                },
                Some(action) = self.signals.next() => match action {
                    SignalAction::Forward(signal, addressee) => self.signal(signal, addressee).await,
                    SignalAction::Resize => self.resize().await,
                    SignalAction::Suspend => self.suspend().await,
                    SignalAction::HangUp => {
                        self.signal("HUP", SignalTarget::Group).await;
                        if self.raw_mode.is_some() {
                            // The program no longer has a terminal.
                            let ended = tokio::time::timeout(GRACE, &mut self.writing).await;
                            return match ended {
                                Ok(_) => self.container.exit_code(&self.program).await,
                                Err(_) => Ok(HANGUP),
                            };
                        }
                    }
                },
            }
        }
    }

    /// Ends a program after its output was closed, like SIGPIPE.
    async fn broken_pipe(&self, rest: ProgramOutput, code: i64) -> Result<i64, EngineError> {
        self.signal("PIPE", SignalTarget::Group).await;
        match tokio::time::timeout(GRACE, drain(rest)).await {
            Ok(()) => self.container.exit_code(&self.program).await,
            Err(_) => Ok(code),
        }
    }

    async fn signal(&self, signal: &str, addressee: SignalTarget) {
        self.container
            .signal(&self.program, signal, addressee)
            .await;
    }

    async fn resize(&self) {
        if let (Some(_), Some(size)) = (&self.raw_mode, size()) {
            self.program.resize(size).await;
        }
    }

    /// Stops the program and xp, and continues the program once xp is continued.
    async fn suspend(&self) {
        self.signal("STOP", SignalTarget::Group).await;
        if let Some(raw_mode) = &self.raw_mode {
            raw_mode.restore();
        }
        stop_here();
        if let Some(raw_mode) = &self.raw_mode {
            raw_mode.enable();
        }
        self.signal("CONT", SignalTarget::Group).await;
        self.resize().await;
    }
}
