//! Byte streams with a digest.

use std::io::{self, Read, Write};
use std::sync::mpsc::{Receiver, SyncSender};

use sha2::{Digest as _, Sha256};

use crate::model::image::Digest;

/// Hashes and counts the bytes that pass through it.
pub(super) struct Hashed<S> {
    pub stream: S,
    hasher: Sha256,
    bytes: u64,
}

impl<S> Hashed<S> {
    pub fn new(stream: S) -> Self {
        Self {
            stream,
            hasher: Sha256::new(),
            bytes: 0,
        }
    }

    /// Returns the number of bytes and their digest.
    pub fn finish(self) -> (u64, Option<Digest>) {
        let digest = format!("sha256:{}", hex::encode(self.hasher.finalize()));
        (self.bytes, digest.parse().ok())
    }
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.stream.read(buffer)?;
        self.hasher.update(&buffer[..length]);
        self.bytes += length as u64;
        Ok(length)
    }
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let length = self.stream.write(buffer)?;
        self.hasher.update(&buffer[..length]);
        self.bytes += length as u64;
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// The number of bytes that are decompressed at once.
const CHUNK: usize = 256 * 1024;

/// The number of chunks between the threads.
pub(super) const CHUNKS: usize = 8;

/// Decompresses an archive of at most `limit` bytes, and returns its size and digest, unless the receiver gives up.
pub(super) fn decompress(
    from: impl Read,
    limit: u64,
    to: &SyncSender<io::Result<Vec<u8>>>,
) -> io::Result<(u64, Option<Digest>)> {
    // One byte more than expected is enough to detect a longer file.
    let mut from = Hashed::new(from.take(limit.saturating_add(1)));
    let decoder = zstd::Decoder::new(&mut from);
    let sent = decoder.and_then(|decoder| {
        let mut decoder = decoder.single_frame();
        loop {
            let mut chunk = Vec::with_capacity(CHUNK);
            decoder
                .by_ref()
                .take(CHUNK as u64)
                .read_to_end(&mut chunk)?;
            let is_end = chunk.is_empty();
            if is_end || to.send(Ok(chunk)).is_err() {
                return Ok(is_end);
            }
        }
    });
    match sent {
        // There must be nothing after it.
        Ok(true) => _ = io::copy(&mut from, &mut io::sink())?,
        Ok(false) => {}
        Err(error) => _ = to.send(Err(error)),
    }
    Ok(from.finish())
}

/// What [`decompress`] sends.
pub(super) struct Chunks {
    receiver: Receiver<io::Result<Vec<u8>>>,
    chunk: Vec<u8>,
    read: usize,
}

impl Chunks {
    pub fn new(receiver: Receiver<io::Result<Vec<u8>>>) -> Self {
        Self {
            receiver,
            chunk: Vec::new(),
            read: 0,
        }
    }

    /// Returns at most `limit` bytes, none at the end.
    pub fn next(&mut self, limit: usize) -> io::Result<&[u8]> {
        if self.read == self.chunk.len() {
            self.read = 0;
            self.chunk = match self.receiver.recv() {
                Ok(chunk) => chunk?,
                Err(_) => Vec::new(),
            };
        }
        let start = self.read;
        self.read += limit.min(self.chunk.len() - start);
        Ok(&self.chunk[start..self.read])
    }
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.next(buffer.len())?;
        buffer[..bytes.len()].copy_from_slice(bytes);
        Ok(bytes.len())
    }
}
