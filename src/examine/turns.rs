//! Questions to one server: so many at once that none waits for the others, and is taken for a late one.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Semaphore;

use super::Surroundings;
use crate::doctor::Trouble;
use crate::error::Diagnostic;

/// The turns of the questions to one server.
pub(super) struct Turns {
    at_once: usize,
    free: Semaphore,
    late: AtomicUsize,
}

impl Turns {
    /// Lets so many questions be asked at once.
    pub fn new(at_once: usize) -> Self {
        Self {
            at_once,
            free: Semaphore::new(at_once),
            late: AtomicUsize::new(0),
        }
    }

    /// Waits for a turn, then for the answer, for so long as that may take. A server that has left as many
    /// questions without an answer as it is asked at once is asked no more.
    pub async fn ask<T, E: Diagnostic>(
        &self,
        surroundings: &Surroundings<'_>,
        what: String,
        question: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Trouble> {
        let _turn = self.free.acquire().await;
        if self.late.load(Ordering::Relaxed) >= self.at_once {
            return Err(Trouble::given_up(&what, self.at_once));
        }
        let late = Trouble::late(&what, surroundings.limit);
        let answer = surroundings.limited(what, question).await;
        if answer.as_ref().err() == Some(&late) {
            self.late.fetch_add(1, Ordering::Relaxed);
        }
        answer
    }
}
