//! Progress and cancellation of git operations.

use tokio_util::sync::CancellationToken;

/// The progress of a clone, fetch or checkout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// The current phase.
    pub phase: ProgressPhase,
    /// The number of objects received, deltas resolved, or files checked out or fetched.
    pub done: usize,
    /// The total number.
    pub total: usize,
    /// Bytes received from the remote so far.
    pub bytes: usize,
}

/// A phase of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProgressPhase {
    /// Receiving objects.
    Receiving,
    /// Resolving deltas.
    Resolving,
    /// Writing files.
    CheckingOut,
    /// Fetching Git LFS files.
    FetchingFiles,
}

/// The progress callback and the cancellation token of a blocking operation.
#[derive(Clone, Copy)]
pub struct OperationContext<'a> {
    /// Called up to once per object.
    pub progress: &'a dyn Fn(Progress),
    /// Stops transfers; a checkout that has started is finished.
    pub cancel: &'a CancellationToken,
}

impl OperationContext<'_> {
    /// Reports a transfer's progress, and returns whether to continue.
    pub fn transfer(&self, stats: &git2::Progress<'_>) -> bool {
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

    /// Reports a checkout's progress.
    pub fn checkout(&self, done: usize, total: usize) {
        (self.progress)(Progress {
            phase: ProgressPhase::CheckingOut,
            done,
            total,
            bytes: 0,
        });
    }

    /// Reports how many Git LFS files were fetched, and their total size.
    pub fn files(&self, done: usize, total: usize, bytes: u64) {
        (self.progress)(Progress {
            phase: ProgressPhase::FetchingFiles,
            done,
            total,
            bytes: usize::try_from(bytes).unwrap_or(usize::MAX),
        });
    }
}
