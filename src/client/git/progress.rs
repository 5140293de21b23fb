//! How a transfer reports what it did, and how it is stopped.

use tokio_util::sync::CancellationToken;

/// How far a clone, fetch or checkout has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// What is being done.
    pub phase: ProgressPhase,
    /// Objects received, deltas resolved, files checked out or fetched.
    pub done: usize,
    /// How many there are in all.
    pub total: usize,
    /// Bytes received from the remote so far.
    pub bytes: usize,
}

/// What is being counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProgressPhase {
    /// Objects arrive.
    Receiving,
    /// Deltas are resolved.
    Resolving,
    /// Files are written.
    CheckingOut,
    /// Files of Git LFS arrive.
    FetchingFiles,
}

/// Where a blocking operation reports its progress, and what interrupts it.
#[derive(Clone, Copy)]
pub struct Watch<'a> {
    /// Called often: up to once for each object.
    pub progress: &'a dyn Fn(Progress),
    /// Stops transfers; a checkout that has begun is finished.
    pub cancel: &'a CancellationToken,
}

impl Watch<'_> {
    /// Reports libgit2's numbers, and tells whether to go on.
    pub(super) fn transfer(&self, stats: &git2::Progress<'_>) -> bool {
        let received = stats.received_objects() < stats.total_objects();
        let (phase, done, total) = if received || stats.total_deltas() == 0 {
            (
                ProgressPhase::Receiving,
                stats.received_objects(),
                stats.total_objects(),
            )
        } else {
            (
                ProgressPhase::Resolving,
                stats.indexed_deltas(),
                stats.total_deltas(),
            )
        };
        (self.progress)(Progress {
            phase,
            done,
            total,
            bytes: stats.received_bytes(),
        });
        !self.cancel.is_cancelled()
    }

    /// Reports a checkout's numbers.
    pub(super) fn checkout(&self, done: usize, total: usize) {
        (self.progress)(Progress {
            phase: ProgressPhase::CheckingOut,
            done,
            total,
            bytes: 0,
        });
    }

    /// Reports how many files of Git LFS came, and how large they are together.
    pub(super) fn files(&self, done: usize, total: usize, bytes: u64) {
        (self.progress)(Progress {
            phase: ProgressPhase::FetchingFiles,
            done,
            total,
            bytes: usize::try_from(bytes).unwrap_or(usize::MAX),
        });
    }
}
