//! Copies standard input, output and error.

use std::io;

use futures_util::StreamExt as _;
use tokio::io::{AsyncWriteExt as _, Stderr, Stdout};

use crate::client::engine::{EngineError, OutputChunk, ProgramInput, ProgramOutput};

/// How the output of a program ended.
pub enum OutputEnd {
    /// All output was written.
    Complete,
    /// The reader closed the pipe.
    Closed(ProgramOutput),
    /// Writing failed, for example on a full disk.
    WriteFailed(io::Error, ProgramOutput),
}

/// Writes the output of a program until it ends or cannot be written.
///
/// # Errors
///
/// If the connection to the engine breaks.
pub async fn write_output(mut printed: ProgramOutput) -> Result<OutputEnd, EngineError> {
    let (mut output, mut error) = (tokio::io::stdout(), tokio::io::stderr());
    while let Some(chunk) = printed.next().await {
        match write(chunk?, &mut output, &mut error).await {
            Ok(()) => {}
            Err(cause) if cause.kind() == io::ErrorKind::BrokenPipe => {
                return Ok(OutputEnd::Closed(printed));
            }
            Err(cause) => return Ok(OutputEnd::WriteFailed(cause, printed)),
        }
    }
    Ok(OutputEnd::Complete)
}

/// Discards the output of a program, so that it does not block.
pub async fn drain(mut printed: ProgramOutput) {
    while let Some(Ok(_)) = printed.next().await {}
}

async fn write(chunk: OutputChunk, output: &mut Stdout, error: &mut Stderr) -> io::Result<()> {
    match chunk {
        OutputChunk::Output(bytes) => {
            output.write_all(&bytes).await?;
            output.flush().await
        }
        OutputChunk::Error(bytes) => {
            error.write_all(&bytes).await?;
            error.flush().await
        }
    }
}

/// Ctrl-D, which marks the end of input on a terminal.
const END_OF_INPUT: &[u8] = b"\x04";

/// Forwards standard input and its end. For a terminal the end is a key, and the connection stays open.
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
    // Closing the connection would close the terminal, which may still have output.
    std::future::pending::<()>().await;
}
