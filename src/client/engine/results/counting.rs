//! An archive that tells whether its end was seen.

use std::io::{self, Read};

use super::END_OF_ARCHIVE;

/// Counts what is read, and how many zeros it ends with.
pub(super) struct Counting<R> {
    pub(super) inner: R,
    pub(super) bytes: u64,
    pub(super) zeros: usize,
}

impl<R: Read> Read for Counting<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.bytes += read as u64;
        let zeros = buffer[..read].iter().rev().take_while(|byte| **byte == 0);
        let zeros = zeros.take(END_OF_ARCHIVE).count();
        self.zeros = match zeros == read {
            true => (self.zeros + zeros).min(END_OF_ARCHIVE),
            false => zeros,
        };
        Ok(read)
    }
}
