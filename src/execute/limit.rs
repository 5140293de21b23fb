//! Limits of concurrent steps.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// A limit whose permits go to the waiting unit that comes first in the plan, which is stable, and so that units end in
/// that order as far as possible.
pub struct Limit {
    state: Arc<Mutex<LimitState>>,
}

struct LimitState {
    free: usize,
    /// Waiting units, by their position in the plan.
    waiting: BTreeMap<usize, oneshot::Sender<Permit>>,
}

/// Returned to its [`Limit`] when dropped.
pub struct Permit {
    state: Arc<Mutex<LimitState>>,
}

impl Limit {
    /// Returns a limit of that many permits, at least one.
    pub fn new(permits: usize) -> Self {
        let state = LimitState {
            free: permits.max(1),
            waiting: BTreeMap::new(),
        };
        Self {
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// Returns a permit if one is free and no unit waits.
    pub fn try_acquire(&self) -> Option<Permit> {
        let mut state = lock(&self.state);
        if state.free == 0 {
            return None;
        }
        state.free -= 1;
        let state = Arc::clone(&self.state);
        Some(Permit { state })
    }

    /// Waits for a permit, in the unit's turn.
    pub async fn acquire(&self, position: usize) -> Permit {
        let receiver = {
            let mut state = lock(&self.state);
            if state.free > 0 {
                state.free -= 1;
                let state = Arc::clone(&self.state);
                return Permit { state };
            }
            let (sender, receiver) = oneshot::channel();
            state.waiting.insert(position, sender);
            receiver
        };
        match receiver.await {
            Ok(permit) => permit,
            // Another step of the same unit took its place, which no unit does.
            Err(_) => std::future::pending().await,
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let next = {
            let mut state = lock(&self.state);
            // A receiver that is gone belongs to a unit that was canceled.
            loop {
                match state.waiting.pop_first() {
                    Some((_, next)) if next.is_closed() => {}
                    Some((_, next)) => break Some(next),
                    None => {
                        state.free += 1;
                        break None;
                    }
                }
            }
        };
        if let Some(next) = next {
            let state = Arc::clone(&self.state);
            // If the unit is canceled right now, dropping the permit passes it on.
            _ = next.send(Self { state });
        }
    }
}

fn lock(state: &Mutex<LimitState>) -> MutexGuard<'_, LimitState> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn the_first_of_the_plan_is_next() {
        let limit = Limit::new(1);
        let first = limit.try_acquire().unwrap();
        assert!(limit.try_acquire().is_none());
        let mut third = Box::pin(limit.acquire(3));
        let mut second = Box::pin(limit.acquire(2));
        assert!(third.as_mut().now_or_never().is_none());
        assert!(second.as_mut().now_or_never().is_none());
        drop(first);
        assert!(third.as_mut().now_or_never().is_none());
        let second = second.now_or_never().unwrap();
        drop(second);
        assert!(third.now_or_never().is_some());
        assert!(limit.try_acquire().is_some());
    }

    #[test]
    fn a_canceled_unit_passes_its_permit_on() {
        let limit = Limit::new(1);
        let first = limit.try_acquire().unwrap();
        let mut second = Box::pin(limit.acquire(2));
        let mut third = Box::pin(limit.acquire(3));
        assert!(second.as_mut().now_or_never().is_none());
        assert!(third.as_mut().now_or_never().is_none());
        drop(first);
        // It was given the permit, but does not look.
        drop(second);
        assert!(third.as_mut().now_or_never().is_some());
        drop(third);
        let first = limit.try_acquire().unwrap();
        let mut second = Box::pin(limit.acquire(2));
        assert!(second.as_mut().now_or_never().is_none());
        drop(second);
        drop(first);
        assert!(limit.try_acquire().is_some());
    }
}
