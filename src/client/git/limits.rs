//! How many connections a host gets at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::source::{GitScheme, GitUrl};

/// A new connection is one TLS handshake, and servers answer many at once.
const HTTP_CONNECTIONS: usize = 16;

/// `sshd` begins to drop connections at ten that are not yet authenticated (`MaxStartups`).
const SSH_CONNECTIONS: usize = 6;

/// The connections of each host.
#[derive(Default)]
pub(super) struct Limits {
    origins: Mutex<HashMap<String, Arc<Semaphore>>>,
}

impl Limits {
    /// Waits until the remote's host may be connected to once more.
    pub(super) async fn acquire(&self, url: &GitUrl) -> Option<OwnedSemaphorePermit> {
        let connections = match url.scheme() {
            GitScheme::Http | GitScheme::Https | GitScheme::Git => HTTP_CONNECTIONS,
            GitScheme::Ssh => SSH_CONNECTIONS,
            GitScheme::File => return None,
        };
        let semaphore = {
            let mut origins = self.origins.lock().unwrap_or_else(PoisonError::into_inner);
            origins
                .entry(url.origin())
                .or_insert_with(|| Arc::new(Semaphore::new(connections)))
                .clone()
        };
        // The semaphores are never closed, so that only a permit comes back.
        semaphore.acquire_owned().await.ok()
    }
}
