//! Detects truncated archives.

use std::io::{self, Read};

use super::END_OF_ARCHIVE;

/// Counts the bytes that are read, and the zeros at the end.
pub(in crate::client::engine::container) struct CountingReader<R> {
    pub(in crate::client::engine::container) inner: R,
    pub(in crate::client::engine::container) bytes: u64,
    pub(in crate::client::engine::container) zeros: usize,
}

impl<R: Read> Read for CountingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.bytes += read as u64;
        let zeros = buffer[..read].iter().rev().take_while(|byte| **byte == 0);
        let zeros = zeros.take(END_OF_ARCHIVE).count();
        self.zeros = if zeros == read {
            (self.zeros + zeros).min(END_OF_ARCHIVE)
        } else {
            zeros
        };
        Ok(read)
    }
}
