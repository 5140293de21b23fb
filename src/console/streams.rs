//! Bytes from and to what xp was started with.

use std::io;

use futures_util::StreamExt as _;
use tokio::io::{AsyncWriteExt as _, Stderr, Stdout};

use crate::client::engine::{EngineError, Printed, ProgramInput, ProgramOutput};

/// How what a program printed came to its end.
pub enum Ended {
    /// All of it was written.
    Complete,
    /// Nobody reads it any more.
    Unread(ProgramOutput),
    /// It could not be written, as on a full disk.
    Unwritten(io::Error, ProgramOutput),
}

/// Writes what a program prints, until its end or until nobody reads it.
///
/// # Errors
///
/// Where the connection to the engine breaks.
pub async fn write_output(mut printed: ProgramOutput) -> Result<Ended, EngineError> {
    let (mut output, mut error) = (tokio::io::stdout(), tokio::io::stderr());
    while let Some(chunk) = printed.next().await {
        match write(chunk?, &mut output, &mut error).await {
            Ok(()) => {}
            Err(cause) if cause.kind() == io::ErrorKind::BrokenPipe => {
                return Ok(Ended::Unread(printed));
            }
            Err(cause) => return Ok(Ended::Unwritten(cause, printed)),
        }
    }
    Ok(Ended::Complete)
}

/// Reads what a program prints for nobody, so that it is not held up.
pub async fn drain(mut printed: ProgramOutput) {
    while let Some(Ok(_)) = printed.next().await {}
}

async fn write(chunk: Printed, output: &mut Stdout, error: &mut Stderr) -> io::Result<()> {
    match chunk {
        Printed::Output(bytes) => {
            output.write_all(&bytes).await?;
            output.flush().await
        }
        Printed::Error(bytes) => {
            error.write_all(&bytes).await?;
            error.flush().await
        }
    }
}

/// The key that tells a terminal that its input ends.
const END_OF_INPUT: &[u8] = b"\x04";

/// Hands standard input on, and its end: a terminal's is a key, and its connection stays.
pub async fn read_input(mut input: ProgramInput, reads: bool, is_terminal: bool) {
    if reads {
        _ = tokio::io::copy(&mut tokio::io::stdin(), &mut input).await;
    }
    if !is_terminal {
        _ = input.shutdown().await;
        return;
    }
    _ = input.write_all(END_OF_INPUT).await;
    _ = input.flush().await;
    // Closed, it would be the end of the terminal, whose output may go on.
    std::future::pending::<()>().await;
}
