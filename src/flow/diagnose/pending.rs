//! The checks in progress, for the progress display.

use std::sync::{Arc, Mutex, PoisonError};

/// The checks in progress. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct PendingChecks(Arc<Mutex<Vec<String>>>);

/// A check in progress, until it is dropped.
pub(super) struct PendingCheck {
    what: String,
    waiting: PendingChecks,
}

impl PendingChecks {
    pub(super) fn begin(&self, what: &str) -> PendingCheck {
        self.list().push(what.to_owned());
        PendingCheck {
            what: what.to_owned(),
            waiting: self.clone(),
        }
    }

    /// Returns the names of the checks in progress, oldest first.
    pub fn names(&self) -> Vec<String> {
        let mut names = self.list().clone();
        names.dedup();
        names
    }

    fn list(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for PendingCheck {
    fn drop(&mut self) {
        let mut list = self.waiting.list();
        if let Some(at) = list.iter().position(|what| *what == self.what) {
            list.remove(at);
        }
    }
}
