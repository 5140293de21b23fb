//! Limits of concurrent connections per host.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::model::source::{GitScheme, GitUrl};

/// HTTP servers accept many connections; each costs one TLS handshake.
const HTTP_CONNECTIONS: usize = 16;

/// Listing references is one small request: the total time depends on the number of sequential round trips.
const HTTP_REF_REQUESTS: usize = 64;

/// `sshd` starts to drop connections if ten are unauthenticated (`MaxStartups`).
const SSH_CONNECTIONS: usize = 6;

/// The purpose of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// To list references.
    ListRefs,
    /// To transfer objects.
    Transfer,
}

/// The semaphores of each host.
#[derive(Default)]
pub struct ConnectionLimits {
    origins: Mutex<HashMap<(String, Purpose), Arc<Semaphore>>>,
}

impl ConnectionLimits {
    /// Waits for a permit to connect to the remote's host; `None` if there is no limit.
    pub async fn acquire(&self, url: &GitUrl, purpose: Purpose) -> Option<OwnedSemaphorePermit> {
        let (connections, purpose) = match url.scheme() {
            GitScheme::Http | GitScheme::Https if purpose == Purpose::ListRefs => {
                (HTTP_REF_REQUESTS, purpose)
            }
            GitScheme::Http | GitScheme::Https | GitScheme::Git => {
                (HTTP_CONNECTIONS, Purpose::Transfer)
            }
            // sshd counts both.
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
        // The semaphores are never closed, so this does not fail.
        semaphore.acquire_owned().await.ok()
    }
}
