//! How many connections a host gets at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::source::{GitScheme, GitUrl};

/// A new connection is one TLS handshake, and servers answer many at once.
const HTTP_CONNECTIONS: usize = 16;

/// A question for references is one small request: how many are asked at once decides how often
/// the way to the server is waited for.
const HTTP_QUESTIONS: usize = 64;

/// `sshd` begins to drop connections at ten that are not yet authenticated (`MaxStartups`).
const SSH_CONNECTIONS: usize = 6;

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
