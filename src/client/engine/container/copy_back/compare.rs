//! Compares a file of the container with one of this machine.

use std::fs::{File, FileTimes};
use std::io::{self, Read};
use std::time::{Duration, UNIX_EPOCH};

use super::CHUNK;
use crate::client::engine::container::source_upload::Fingerprint;

/// A file of the container.
pub(super) struct RemoteFile {
    pub(super) size: u64,
    pub(super) modified: u64,
    pub(super) mode: u32,
}

impl RemoteFile {
    /// Returns whether it seems to be unchanged since it was sent.
    pub(super) fn is_unchanged(&self, sent: &Fingerprint) -> bool {
        self.size == sent.size
            && i64::try_from(self.modified) == Ok(sent.modified.0)
            && self.mode == sent.mode & 0o7777
    }

    pub(super) fn times(&self) -> FileTimes {
        FileTimes::new().set_modified(UNIX_EPOCH + Duration::from_secs(self.modified))
    }
}

/// The common beginning of two files.
#[derive(Default)]
pub(super) struct FileComparison {
    /// The number of equal bytes.
    pub(super) equal: u64,
    /// The bytes that were read after them.
    pub(super) next: Vec<u8>,
    /// Whether the files are equal.
    pub(super) is_all: bool,
}

pub(super) fn compare(mut local: File, remote: &mut impl Read) -> io::Result<FileComparison> {
    let (mut local_bytes, mut remote_bytes) = (vec![0; CHUNK], vec![0; CHUNK]);
    let mut equal = 0;
    loop {
        let read = remote.read(&mut remote_bytes)?;
        if read == 0 {
            let (next, is_all) = (Vec::new(), true);
            return Ok(FileComparison {
                equal,
                next,
                is_all,
            });
        }
        let is_read = local.read_exact(&mut local_bytes[..read]).is_ok();
        if !is_read || local_bytes[..read] != remote_bytes[..read] {
            remote_bytes.truncate(read);
            let (next, is_all) = (remote_bytes, false);
            return Ok(FileComparison {
                equal,
                next,
                is_all,
            });
        }
        equal += read as u64;
    }
}
