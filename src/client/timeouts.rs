//! How long servers are waited for.

use std::time::Duration;

/// How long servers are waited for, as read by the settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// Until a connection is made, TLS included: `XP_CONNECT_TIMEOUT`.
    pub connect: Duration,
    /// For the first byte of an answer, and for each further one: `XP_STALL_TIMEOUT`.
    pub stall: Duration,
    /// For any progress of a push or a pull of the engine: `XP_TRANSFER_TIMEOUT`.
    pub transfer: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            stall: Duration::from_secs(60),
            transfer: Duration::from_secs(600),
        }
    }
}
