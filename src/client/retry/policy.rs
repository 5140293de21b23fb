//! When to retry a failed request. Pure: the caller passes in the clock and the random number.

use std::time::Duration;

use time::macros::format_description;
use time::{OffsetDateTime, PrimitiveDateTime};

/// When and how long a request is retried.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Policy {
    /// The number of attempts, including the first.
    pub attempts: u32,
    /// The maximum of the first wait; it doubles for each further one.
    pub shortest: Duration,
    /// The maximum of any wait.
    pub longest: Duration,
    /// The random fraction of a wait, from 0 to 1.
    pub jitter: f64,
    /// No attempt but the second starts later than this after the first. Waits that a server requested do not
    /// count.
    pub budget: Duration,
}

/// The longest `Retry-After` that is honored: a user at a terminal would not wait longer.
pub const MAX_RETRY_AFTER: Duration = Duration::from_secs(30);

impl Policy {
    /// For requests to a registry, a token server or a git remote.
    pub const REQUEST: Self = Self {
        attempts: 5,
        shortest: Duration::from_millis(400),
        longest: Duration::from_secs(5),
        jitter: 1.0,
        budget: Duration::from_secs(30),
    };

    /// For pushes and pulls by the engine. The waits add up to more than a minute, which is how long an engine with
    /// the classic image store retries the push of a layer itself; with the containerd image store it does not retry.
    pub const TRANSFER: Self = Self {
        attempts: 8,
        shortest: Duration::from_secs(3),
        longest: Duration::from_secs(15),
        jitter: 0.25,
        budget: Duration::from_secs(600),
    };

    /// For an image that another run builds. The caller has its own limit.
    pub const AWAITED_IMAGE: Self = Self {
        attempts: u32::MAX,
        shortest: Duration::from_secs(1),
        longest: Duration::from_secs(15),
        jitter: 0.25,
        budget: Duration::from_secs(366 * 86_400),
    };

    /// For requests to a cluster, whose server may be replaced while a build runs.
    pub const CLUSTER: Self = Self {
        attempts: 30,
        shortest: Duration::from_millis(500),
        longest: Duration::from_secs(5),
        jitter: 0.5,
        budget: Duration::from_secs(90),
    };

    /// For diagnostic requests in interactive commands.
    pub const INTERACTIVE: Self = Self {
        attempts: 2,
        shortest: Duration::from_millis(300),
        longest: Duration::from_millis(300),
        jitter: 1.0,
        budget: Duration::from_secs(5),
    };

    /// Returns how long to wait before the next attempt; `None` if there must not be one.
    ///
    /// `failed` is the number of attempts so far, `random` a number from 0 to 1, `requested` the wait that the server
    /// requested, and `spent` the time since the start of the first attempt, without the waits that servers requested.
    pub fn wait(
        &self,
        failed: u32,
        random: f64,
        requested: Option<Duration>,
        spent: Duration,
    ) -> Option<Duration> {
        if failed >= self.attempts || requested.is_some_and(|delay| delay > MAX_RETRY_AFTER) {
            return None;
        }
        let doubled = self
            .shortest
            .saturating_mul(1 << failed.saturating_sub(1).min(16));
        // Jitter, so that fifty requests that failed together are not retried together.
        let share = 1.0 - self.jitter * (1.0 - random.clamp(0.0, 1.0));
        let backoff = doubled.min(self.longest).mul_f64(share);
        let is_late = failed > 1 && spent + backoff > self.budget;
        match requested {
            _ if is_late => None,
            // Never earlier than requested, and not all requests at the same moment.
            Some(delay) => Some(delay + backoff.min(self.shortest)),
            None => Some(backoff),
        }
    }
}

/// Returns whether a status is transient.
pub fn is_transient(status: u16) -> bool {
    matches!(status, 408 | 425 | 429 | 500 | 502 | 503 | 504)
}

/// Parses `Retry-After`: seconds, or a date, which is relative to the response's own `Date` if it has one, as clocks
/// differ.
pub fn retry_after(value: &str, date: Option<&str>, now: OffsetDateTime) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = http_date(value)?;
    let now = date.and_then(http_date).unwrap_or(now);
    // A date in the past means "now".
    Some(Duration::try_from(until - now).unwrap_or_default())
}

/// Parses an HTTP date: `Sun, 06 Nov 1994 08:49:37 GMT`.
fn http_date(text: &str) -> Option<OffsetDateTime> {
    let format = format_description!(
        "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
    );
    let date = PrimitiveDateTime::parse(text.trim(), format).ok()?;
    Some(date.assume_utc())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Duration = Duration::ZERO;

    fn wait(failed: u32, random: f64) -> Option<Duration> {
        Policy::REQUEST.wait(failed, random, None, NONE)
    }

    #[test]
    fn delays_double_up_to_the_maximum_with_jitter() {
        let longest: Vec<u128> = (1..5)
            .filter_map(|failed| wait(failed, 1.0))
            .map(|wait| wait.as_millis())
            .collect();
        assert_eq!(longest, [400, 800, 1600, 3200]);
        assert_eq!(wait(2, 0.5), Some(Duration::from_millis(400)));
        assert_eq!(wait(3, 0.0), Some(NONE));
        let long = Policy {
            attempts: 100,
            ..Policy::REQUEST
        };
        assert_eq!(long.wait(90, 1.0, None, NONE), Some(long.longest));
    }

    #[test]
    fn a_push_survives_an_outage_of_a_minute() {
        let wait = |failed| Policy::TRANSFER.wait(failed, 0.0, None, NONE);
        let waits: Vec<_> = (1..).map_while(wait).collect();
        assert_eq!(waits[0], Duration::from_millis(2250));
        assert!(waits.iter().sum::<Duration>() >= Duration::from_secs(60));
    }

    #[test]
    fn attempts_are_counted() {
        assert!(wait(4, 1.0).is_some());
        assert_eq!(wait(5, 1.0), None);
        let once = Policy {
            attempts: 1,
            ..Policy::REQUEST
        };
        assert_eq!(once.wait(1, 0.0, None, NONE), None);
    }

    #[test]
    fn the_budget_limits_all_attempts_but_the_second() {
        let late = Duration::from_secs(31);
        let after = |failed, spent| Policy::REQUEST.wait(failed, 1.0, None, spent);
        assert!(after(1, late).is_some());
        assert_eq!(after(2, late), None);
        assert_eq!(after(2, Duration::from_millis(29_300)), None);
        assert!(after(2, Duration::from_millis(29_100)).is_some());
    }

    #[test]
    fn retry_after_is_honored_up_to_a_limit() {
        let requested = |seconds| {
            let requested = Some(Duration::from_secs(seconds));
            Policy::REQUEST.wait(1, 1.0, requested, NONE)
        };
        assert_eq!(requested(0), Some(Duration::from_millis(400)));
        assert_eq!(requested(30), Some(Duration::from_millis(30_400)));
        assert_eq!(requested(31), None);
        // The jitter does not grow with it.
        let fourth = Policy::REQUEST.wait(4, 1.0, Some(Duration::from_secs(2)), NONE);
        assert_eq!(fourth, Some(Duration::from_millis(2400)));
    }

    #[test]
    fn only_some_statuses_are_transient() {
        for status in [408, 425, 429, 500, 502, 503, 504] {
            assert!(is_transient(status), "{status}");
        }
        for status in [200, 301, 400, 401, 403, 404, 405, 407, 409, 416, 501, 505] {
            assert!(!is_transient(status), "{status}");
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        let read = |value: &str, date| retry_after(value, date, now).map(|wait| wait.as_secs());
        assert_eq!(read("120", None), Some(120));
        assert_eq!(read(" 1 ", None), Some(1));
        assert_eq!(read("Sun, 06 Nov 1994 08:49:57 GMT", None), Some(20));
        assert_eq!(read("Sun, 06 Nov 1994 08:00:00 GMT", None), Some(0));
        // Relative to the server's own clock.
        let date = Some("Sun, 06 Nov 1994 08:49:47 GMT");
        assert_eq!(read("Sun, 06 Nov 1994 08:49:57 GMT", date), Some(10));
        for wrong in ["", "soon", "-1", "1.5", "Sun, 06 Foo 1994 08:49:57 GMT"] {
            assert_eq!(read(wrong, None), None, "{wrong}");
        }
    }
}
