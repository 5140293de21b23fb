//! Bridges between async streams and blocking readers and writers.

use std::io::{self, Read, Write};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use tokio_util::io::{ReaderStream, StreamReader, SyncIoBridge};

/// The number of bytes that are buffered between the thread and the connection.
const BUFFER: usize = 256 * 1024;

/// Returns the bytes that `write` writes as a stream; its error ends the stream.
///
/// `write` runs on its own thread, only as fast as the stream is consumed, and ends when the stream is dropped.
pub fn written(
    write: impl FnOnce(&mut dyn Write) -> io::Result<()> + Send + 'static,
) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    let (reader, writer) = tokio::io::duplex(BUFFER);
    let (failed, failure) = tokio::sync::oneshot::channel();
    let mut writer = SyncIoBridge::new(writer);
    tokio::task::spawn_blocking(move || {
        let written = write(&mut writer).and_then(|()| writer.flush());
        if let Err(error) = written {
            _ = failed.send(error);
        }
    });
    // A closed pipe does not show whether the output is complete: wait for the result of the writer.
    let ended = async move {
        match failure.await {
            Ok(error) => Some(Err(error)),
            Err(_) => None,
        }
    };
    ReaderStream::with_capacity(reader, BUFFER)
        .chain(futures_util::stream::once(ended).filter_map(std::future::ready))
}

/// Runs `read` on its own thread, with the stream as its input.
pub async fn read<T: Send + 'static>(
    stream: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
    read: impl FnOnce(&mut dyn Read) -> T + Send + 'static,
) -> T {
    let reader = StreamReader::new(Box::pin(stream));
    let mut reader = SyncIoBridge::new(reader);
    crate::base::task::joined(tokio::task::spawn_blocking(move || read(&mut reader)).await)
}
