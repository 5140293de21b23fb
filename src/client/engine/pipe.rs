//! What a thread writes, as a stream, and a stream as what a thread reads.

use std::io::{self, Read, Write};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use tokio_util::io::{ReaderStream, StreamReader, SyncIoBridge};

/// How much waits between the thread and the connection.
const BUFFER: usize = 256 * 1024;

/// Returns what `write` writes; where it fails, its error ends the stream.
///
/// A thread of its own writes, only as fast as the stream is consumed, and ends when the stream is dropped.
pub(super) fn written(
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
    // The end of what was written alone does not tell whether it is complete: ask the writer.
    let ended = async move {
        match failure.await {
            Ok(error) => Some(Err(error)),
            Err(_) => None,
        }
    };
    ReaderStream::with_capacity(reader, BUFFER)
        .chain(futures_util::stream::once(ended).filter_map(std::future::ready))
}

/// Has a thread of its own read a stream, only as fast as it does.
pub(super) async fn read<T: Send + 'static>(
    stream: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
    read: impl FnOnce(&mut dyn Read) -> T + Send + 'static,
) -> T {
    let reader = StreamReader::new(Box::pin(stream));
    let mut reader = SyncIoBridge::new(reader);
    crate::task::joined(tokio::task::spawn_blocking(move || read(&mut reader)).await)
}
