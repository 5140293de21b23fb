//! Deduplicates retry messages.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::base::error::Retrying;
use crate::base::sanitize::sanitized;

/// Within this time, equal failures of one host are reported once.
const INTERVAL: Duration = Duration::from_secs(2);

/// The last message of each host: if a host is down, all requests to it fail at the same moment.
#[derive(Debug, Default)]
pub struct RetryNotices(HashMap<String, (String, Instant)>);

impl RetryNotices {
    /// Returns the message about a retry, unless it was printed just before.
    pub fn line(&mut self, retrying: &Retrying, now: Instant) -> Option<String> {
        let last = self.0.get(&retrying.host);
        if last.is_some_and(|(why, at)| *why == retrying.why && now < *at + INTERVAL) {
            return None;
        }
        self.0
            .insert(retrying.host.clone(), (retrying.why.clone(), now));
        Some(sanitized(&retrying.to_string()).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_failures_are_reported_once() {
        let mut notices = RetryNotices::default();
        let now = Instant::now();
        let mut retrying = Retrying {
            host: "r.example.com".to_owned(),
            request: "HEAD".to_owned(),
            why: "503 Service Unavailable".to_owned(),
            wait: Duration::from_millis(430),
            attempt: 2,
            attempts: 5,
        };
        assert_eq!(
            notices.line(&retrying, now).as_deref(),
            Some("r.example.com: HEAD: 503 Service Unavailable; trying again in 0.4s (2 of 5)")
        );
        assert_eq!(notices.line(&retrying, now + INTERVAL / 2), None);
        assert!(notices.line(&retrying, now + INTERVAL).is_some());
        retrying.why = "429 Too Many Requests".to_owned();
        assert!(notices.line(&retrying, now + INTERVAL).is_some());
    }
}
