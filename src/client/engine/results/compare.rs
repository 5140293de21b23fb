//! A file of the container beside one of this machine.

use std::fs::{File, FileTimes};
use std::io::{self, Read};
use std::time::{Duration, UNIX_EPOCH};

use super::CHUNK;
use crate::client::engine::parcel::Fingerprint;

/// A file of the container.
pub(super) struct There {
    pub(super) size: u64,
    pub(super) modified: u64,
    pub(super) mode: u32,
}

impl There {
    /// Tells whether it seems to be as it was sent.
    pub(super) fn is_as(&self, sent: &Fingerprint) -> bool {
        self.size == sent.size
            && i64::try_from(self.modified) == Ok(sent.modified.0)
            && self.mode == sent.mode & 0o7777
    }

    pub(super) fn times(&self) -> FileTimes {
        FileTimes::new().set_modified(UNIX_EPOCH + Duration::from_secs(self.modified))
    }
}

/// How far two files are the same.
#[derive(Default)]
pub(super) struct Compared {
    /// The bytes that are.
    pub(super) equal: u64,
    /// What was read after them.
    pub(super) next: Vec<u8>,
    pub(super) is_all: bool,
}

pub(super) fn compare(mut here: File, there: &mut impl Read) -> io::Result<Compared> {
    let (mut ours, mut theirs) = (vec![0; CHUNK], vec![0; CHUNK]);
    let mut equal = 0;
    loop {
        let read = there.read(&mut theirs)?;
        if read == 0 {
            let (next, is_all) = (Vec::new(), true);
            return Ok(Compared {
                equal,
                next,
                is_all,
            });
        }
        let is_read = here.read_exact(&mut ours[..read]).is_ok();
        if !is_read || ours[..read] != theirs[..read] {
            theirs.truncate(read);
            let (next, is_all) = (theirs, false);
            return Ok(Compared {
                equal,
                next,
                is_all,
            });
        }
        equal += read as u64;
    }
}
