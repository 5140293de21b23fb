//! Byte streams with a digest.

use std::io::{self, Read, Write};

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
