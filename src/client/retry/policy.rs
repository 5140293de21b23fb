//! When something that failed is tried again. Pure: the clock and the chance come in from outside.

use std::time::Duration;

use time::macros::format_description;
use time::{OffsetDateTime, PrimitiveDateTime};

/// How often, and for how long, something is tried.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Policy {
    /// How often it is tried in all.
    pub attempts: u32,
    /// The first wait is at most so long; each that follows at most twice the one before.
    pub shortest: Duration,
    /// No wait is longer, however often it failed.
    pub longest: Duration,
    /// How much of a wait is left to chance, from 0 to 1.
    pub chance: f64,
    /// Nothing but the second attempt begins later than so long after the first. What a server asked to
    /// wait does not count.
    pub budget: Duration,
}

/// The longest wait that a server may ask for: nobody waits longer in front of a terminal.
pub const LONGEST_ASKED: Duration = Duration::from_secs(30);

impl Policy {
    /// That of a request to a registry, a token server or a git remote.
    pub const REQUEST: Self = Self {
        attempts: 5,
        shortest: Duration::from_millis(400),
        longest: Duration::from_secs(5),
        chance: 1.0,
        budget: Duration::from_secs(30),
    };

    /// That of a push or a pull of the engine. The waits add up to more than a minute, as long as an engine with the
    /// classic image store tries to push a layer by itself; one with the containerd image store tries once.
    pub const TRANSFER: Self = Self {
        attempts: 8,
        shortest: Duration::from_secs(3),
        longest: Duration::from_secs(15),
        chance: 0.25,
        budget: Duration::from_secs(600),
    };

    /// That of a question which a person waits for, and which is about what is wrong.
    pub const QUESTION: Self = Self {
        attempts: 2,
        shortest: Duration::from_millis(300),
        longest: Duration::from_millis(300),
        chance: 1.0,
        budget: Duration::from_secs(5),
    };

    /// Returns how long to wait before the next attempt; none where there is to be none.
    ///
    /// `failed` is how many attempts there were, `chance` a number from 0 to 1, `asked` what the server
    /// asked for, and `spent` the time since the first attempt began, without what servers asked for.
    pub fn wait(
        &self,
        failed: u32,
        chance: f64,
        asked: Option<Duration>,
        spent: Duration,
    ) -> Option<Duration> {
        if failed >= self.attempts || asked.is_some_and(|asked| asked > LONGEST_ASKED) {
            return None;
        }
        let doubled = self
            .shortest
            .saturating_mul(1 << failed.saturating_sub(1).min(16));
        // Left to chance, so that fifty that failed together do not come back together.
        let share = 1.0 - self.chance * (1.0 - chance.clamp(0.0, 1.0));
        let backoff = doubled.min(self.longest).mul_f64(share);
        let is_late = failed > 1 && spent + backoff > self.budget;
        match asked {
            _ if is_late => None,
            // Never before the time that was asked for, and not all at that very moment.
            Some(asked) => Some(asked + backoff.min(self.shortest)),
            None => Some(backoff),
        }
    }
}

/// Tells whether an answer with that status may be another one a moment later.
pub fn is_transient(status: u16) -> bool {
    matches!(status, 408 | 425 | 429 | 500 | 502 | 503 | 504)
}

/// Reads `Retry-After`: seconds, or a date, which counts from the answer's own `Date` where it has one, as
/// clocks differ.
pub fn retry_after(value: &str, date: Option<&str>, now: OffsetDateTime) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = http_date(value)?;
    let now = date.and_then(http_date).unwrap_or(now);
    // What is past already means: at once.
    Some(Duration::try_from(until - now).unwrap_or_default())
}

/// Reads a date as HTTP writes it: `Sun, 06 Nov 1994 08:49:37 GMT`.
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

    fn wait(failed: u32, chance: f64) -> Option<Duration> {
        Policy::REQUEST.wait(failed, chance, None, NONE)
    }

    #[test]
    fn waits_double_up_to_the_longest_and_are_left_to_chance() {
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
    fn an_outage_of_a_minute_costs_no_push() {
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
    fn a_budget_ends_all_attempts_but_the_second() {
        let late = Duration::from_secs(31);
        let after = |failed, spent| Policy::REQUEST.wait(failed, 1.0, None, spent);
        assert!(after(1, late).is_some());
        assert_eq!(after(2, late), None);
        assert_eq!(after(2, Duration::from_millis(29_300)), None);
        assert!(after(2, Duration::from_millis(29_100)).is_some());
    }

    #[test]
    fn what_a_server_asks_for_is_waited_for_up_to_a_limit() {
        let asked = |seconds| {
            let asked = Some(Duration::from_secs(seconds));
            Policy::REQUEST.wait(1, 1.0, asked, NONE)
        };
        assert_eq!(asked(0), Some(Duration::from_millis(400)));
        assert_eq!(asked(30), Some(Duration::from_millis(30_400)));
        assert_eq!(asked(31), None);
        // The jitter does not grow with it.
        let fourth = Policy::REQUEST.wait(4, 1.0, Some(Duration::from_secs(2)), NONE);
        assert_eq!(fourth, Some(Duration::from_millis(2400)));
    }

    #[test]
    fn only_some_statuses_pass_by_themselves() {
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
        // By the server's own clock.
        let date = Some("Sun, 06 Nov 1994 08:49:47 GMT");
        assert_eq!(read("Sun, 06 Nov 1994 08:49:57 GMT", date), Some(10));
        for wrong in ["", "soon", "-1", "1.5", "Sun, 06 Foo 1994 08:49:57 GMT"] {
            assert_eq!(read(wrong, None), None, "{wrong}");
        }
    }
}
