//! What is waited for, to be told while somebody waits.

use std::sync::{Arc, Mutex, PoisonError};

/// The questions that have no answer yet. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Waiting(Arc<Mutex<Vec<String>>>);

/// A question without an answer, until it is dropped.
pub(super) struct Question {
    what: String,
    waiting: Waiting,
}

impl Waiting {
    pub(super) fn begin(&self, what: &str) -> Question {
        self.list().push(what.to_owned());
        Question {
            what: what.to_owned(),
            waiting: self.clone(),
        }
    }

    /// Returns who is waited for, the longest first.
    pub fn names(&self) -> Vec<String> {
        let mut names = self.list().clone();
        names.dedup();
        names
    }

    fn list(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        let mut list = self.waiting.list();
        if let Some(at) = list.iter().position(|what| *what == self.what) {
            list.remove(at);
        }
    }
}
