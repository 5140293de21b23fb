//! A program from its start to its end.

use std::time::Duration;

use tokio::task::JoinHandle;

use super::raw::Raw;
use super::signals::{Request, Signals, stop_here};
use super::streams::{Ended, drain, read_input, write_output};
use super::{Connection, size};
use crate::client::engine::{
    Addressee, BuilderContainer, EngineError, Program, ProgramInput, ProgramOutput,
};
use crate::task::joined;

/// How long a program may go on whose output nobody reads, or whose terminal is gone.
const GRACE: Duration = Duration::from_secs(5);

/// Exit codes of programs that a signal ended are 128 and its number.
const HANGED_UP: i64 = 129;
const BROKEN_PIPE: i64 = 141;
/// What a program exits with most often that cannot write.
const CANNOT_WRITE: i64 = 1;

/// Ties a program to what xp was started with, until it ends, and returns its exit code. The terminal is
/// left as it was found, whatever happens.
///
/// # Errors
///
/// Where the connection to the engine breaks, or the container ends before the program.
pub async fn attach(
    container: &BuilderContainer,
    started: (Program, ProgramInput, ProgramOutput),
    signals: Signals,
    connection: Connection,
) -> Result<i64, EngineError> {
    let (program, input, output) = started;
    let raw = connection.terminal().map(|_| Raw::begin());
    let reads = match connection {
        Connection::Terminal(_) => true,
        Connection::Streams { reads } => reads,
    };
    let reading = tokio::spawn(read_input(input, reads, raw.is_some()));
    let mut tied = Tied {
        container,
        program,
        raw,
        signals,
        writing: tokio::spawn(write_output(output)),
    };
    // It was started with the size of a while ago, and what signals told meanwhile is forgotten.
    if size() != connection.terminal() {
        tied.resize().await;
    }
    let code = tied.follow().await;
    reading.abort();
    code
}

struct Tied<'a> {
    container: &'a BuilderContainer,
    program: Program,
    raw: Option<Raw>,
    signals: Signals,
    writing: JoinHandle<Result<Ended, EngineError>>,
}

impl Tied<'_> {
    async fn follow(&mut self) -> Result<i64, EngineError> {
        loop {
            tokio::select! {
                written = &mut self.writing => return match joined(written)? {
                    Ended::Complete => self.container.exit_code(&self.program).await,
                    Ended::Unread(rest) => self.unread(rest, BROKEN_PIPE).await,
                    Ended::Unwritten(error, rest) => {
                        self.unread(rest, CANNOT_WRITE).await?;
                        Err(EngineError::Output(error))
                    }
                },
                Some(request) = self.signals.next() => match request {
                    Request::PassOn(signal, addressee) => self.signal(signal, addressee).await,
                    Request::Resize => self.resize().await,
                    Request::Suspend => self.suspend().await,
                    Request::HangUp => {
                        self.signal("HUP", Addressee::Group).await;
                        if self.raw.is_some() {
                            // Nobody can talk to it any more.
                            let ended = tokio::time::timeout(GRACE, &mut self.writing).await;
                            return match ended {
                                Ok(_) => self.container.exit_code(&self.program).await,
                                Err(_) => Ok(HANGED_UP),
                            };
                        }
                    }
                },
            }
        }
    }

    /// Ends a program whose output has nowhere to go, as the system ends those of this machine.
    async fn unread(&self, rest: ProgramOutput, code: i64) -> Result<i64, EngineError> {
        self.signal("PIPE", Addressee::Group).await;
        match tokio::time::timeout(GRACE, drain(rest)).await {
            Ok(()) => self.container.exit_code(&self.program).await,
            Err(_) => Ok(code),
        }
    }

    async fn signal(&self, signal: &str, addressee: Addressee) {
        self.container
            .signal(&self.program, signal, addressee)
            .await;
    }

    async fn resize(&self) {
        if let (Some(_), Some(size)) = (&self.raw, size()) {
            self.program.resize(size).await;
        }
    }

    /// Stops the program and xp, and continues both once xp is continued.
    async fn suspend(&self) {
        self.signal("STOP", Addressee::Group).await;
        if let Some(raw) = &self.raw {
            raw.pause();
        }
        stop_here();
        if let Some(raw) = &self.raw {
            raw.again();
        }
        self.signal("CONT", Addressee::Group).await;
        self.resize().await;
    }
}
