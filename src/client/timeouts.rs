//! Timeouts of requests.

use std::time::Duration;

/// The timeouts of requests, as read by the settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For connecting, including TLS: `XP_CONNECT_TIMEOUT`.
    pub connect: Duration,
    /// For the first byte of a response, and between bytes: `XP_STALL_TIMEOUT`.
    pub stall: Duration,
    /// For any progress of a push or pull by the engine: `XP_TRANSFER_TIMEOUT`.
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
