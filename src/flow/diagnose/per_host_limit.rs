//! Limits the concurrent requests to one server, so that requests waiting in its queue do not time out.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Semaphore;

use super::DoctorContext;
use crate::base::error::Diagnostic;
use crate::model::doctor::CheckFailure;

/// A limit on the concurrent requests to one server.
pub struct PerHostLimit {
    max_concurrent: usize,
    permits: Semaphore,
    timeouts: AtomicUsize,
}

impl PerHostLimit {
    /// Allows `max_concurrent` requests at a time.
    pub fn new(max_concurrent: usize) -> Self {
        Self {
            max_concurrent,
            permits: Semaphore::new(max_concurrent),
            timeouts: AtomicUsize::new(0),
        }
    }

    /// Waits for a permit, then runs a query with the timeout. After `max_concurrent` timeouts, further queries
    /// fail without being sent.
    pub async fn run<T, E: Diagnostic>(
        &self,
        context: &DoctorContext<'_>,
        what: String,
        query: impl Future<Output = Result<T, E>>,
    ) -> Result<T, CheckFailure> {
        let _permit = self.permits.acquire().await;
        if self.timeouts.load(Ordering::Relaxed) >= self.max_concurrent {
            return Err(CheckFailure::skipped(&what, self.max_concurrent));
        }
        let timeout = CheckFailure::timeout(&what, context.limit);
        let response = context.limited(what, query).await;
        if response.as_ref().err() == Some(&timeout) {
            self.timeouts.fetch_add(1, Ordering::Relaxed);
        }
        response
    }
}
