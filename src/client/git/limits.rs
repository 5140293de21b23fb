//! How many connections a host gets at once, and when a failed one is tried again.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::GitError;
use crate::source::{GitScheme, GitUrl};

/// A new connection is one TLS handshake, and servers answer many at once.
const HTTP_CONNECTIONS: usize = 16;

/// A question for references is one small request: how many are asked at once decides how often
/// the way to the server is waited for.
const HTTP_QUESTIONS: usize = 64;

/// `sshd` begins to drop connections at ten that are not yet authenticated (`MaxStartups`).
const SSH_CONNECTIONS: usize = 6;

/// How often a connection that failed is tried again.
const RETRIES: u32 = 2;

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Purpose {
    /// A list of references.
    Question,
    /// Objects.
    Transfer,
}

/// The connections of each host.
#[derive(Default)]
pub(super) struct Limits {
    origins: Mutex<HashMap<(String, Purpose), Arc<Semaphore>>>,
}

impl Limits {
    /// Waits until the remote's host may be connected to once more.
    pub(super) async fn acquire(
        &self,
        url: &GitUrl,
        purpose: Purpose,
    ) -> Option<OwnedSemaphorePermit> {
        let (connections, purpose) = match url.scheme() {
            GitScheme::Http | GitScheme::Https if purpose == Purpose::Question => {
                (HTTP_QUESTIONS, purpose)
            }
            GitScheme::Http | GitScheme::Https | GitScheme::Git => {
                (HTTP_CONNECTIONS, Purpose::Transfer)
            }
            // Both count as connections to the one server that counts them.
            GitScheme::Ssh => (SSH_CONNECTIONS, Purpose::Transfer),
            GitScheme::File => return None,
        };
        let semaphore = {
            let mut origins = self.origins.lock().unwrap_or_else(PoisonError::into_inner);
            origins
                .entry((url.origin(), purpose))
                .or_insert_with(|| Arc::new(Semaphore::new(connections)))
                .clone()
        };
        // The semaphores are never closed, so that only a permit comes back.
        semaphore.acquire_owned().await.ok()
    }
}

/// Returns how long to wait before the next attempt; none where it would not help.
pub(super) fn delay_before_retry(error: &GitError, failures: u32) -> Option<Duration> {
    if failures > RETRIES || !error.is_transient() {
        return None;
    }
    let shortest: u64 = 100 << (2 * failures.saturating_sub(1));
    // The hasher's keys are random: enough to keep fifty attempts from coming back at once.
    let jitter = RandomState::new().hash_one(failures) % shortest;
    Some(Duration::from_millis(shortest + jitter))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_broken_connections_are_tried_again_and_only_twice() {
        let url: GitUrl = "http://h/x".parse().unwrap();
        let broken = GitError::unreachable(&url).transient();
        assert!(delay_before_retry(&broken, 1).unwrap() < Duration::from_millis(500));
        assert!(delay_before_retry(&broken, 2).unwrap() < Duration::from_millis(2000));
        assert_eq!(delay_before_retry(&broken, 3), None);
        assert_eq!(delay_before_retry(&GitError::not_found(&url), 1), None);
    }
}
