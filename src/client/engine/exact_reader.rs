//! Files in archives.

use std::fs::File;
use std::io::{self, Read};

/// Reads exactly `left` bytes, because an entry of an archive must have the length in its header.
pub struct ExactReader {
    pub file: File,
    pub left: u64,
}

impl Read for ExactReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = buffer
            .len()
            .min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if wanted == 0 {
            return Ok(0);
        }
        let read = self.file.read(&mut buffer[..wanted])?;
        if read == 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "it was truncated while it was being read",
            ));
        }
        self.left -= read as u64;
        Ok(read)
    }
}
