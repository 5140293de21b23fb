//! What is tried again, told without repeating itself.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::error::{Retrying, harmless};

/// For so long one line stands for all that failed at a host in the same way.
const QUIET: Duration = Duration::from_secs(2);

/// What was told last of each host: where it is gone, all that is asked of it fails at the same moment.
#[derive(Debug, Default)]
pub struct Repeats(HashMap<String, (String, Instant)>);

impl Repeats {
    /// Returns the line about something that is tried again, where there is to be one.
    pub fn line(&mut self, retrying: &Retrying, now: Instant) -> Option<String> {
        let told = self.0.get(&retrying.host);
        if told.is_some_and(|(why, at)| *why == retrying.why && now < *at + QUIET) {
            return None;
        }
        self.0
            .insert(retrying.host.clone(), (retrying.why.clone(), now));
        Some(harmless(&retrying.to_string()).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_stands_for_many() {
        let mut repeats = Repeats::default();
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
            repeats.line(&retrying, now).as_deref(),
            Some("r.example.com: HEAD: 503 Service Unavailable; trying again in 0.4s (2 of 5)")
        );
        assert_eq!(repeats.line(&retrying, now + QUIET / 2), None);
        assert!(repeats.line(&retrying, now + QUIET).is_some());
        retrying.why = "429 Too Many Requests".to_owned();
        assert!(repeats.line(&retrying, now + QUIET).is_some());
    }
}
