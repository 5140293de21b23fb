//! Decides from the results of probes when a container is ready. Pure.
//!
//! A database may restart during its initialization: the entrypoint of PostgreSQL's image starts a temporary server for
//! its scripts, and stops it again. So one success is not enough: a container is ready after several successes in a
//! row, over at least a second.

use std::time::Duration;

use crate::base::units;

/// The number of successes in a row.
const SUCCESSES: u32 = 3;

/// How long they must last.
const HOLD: Duration = Duration::from_secs(1);

/// The pause between two probes.
const INTERVAL: Duration = Duration::from_millis(300);

/// How long a single probe may take.
const PROBE_LIMIT: Duration = Duration::from_secs(10);

/// The longest output of a probe in a message, in characters.
const LONGEST_OUTPUT: usize = 300;

/// The result of one probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeResult {
    /// It exited with that code and this output.
    Exited(i64, String),
    /// It did not end in time.
    Hanging(Duration),
    /// It could not be started.
    NotStarted(String),
}

/// What to do after a probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NextProbe {
    Ready,
    /// Probe again after this pause.
    After(Duration),
    /// It took too long.
    TooLate,
}

/// The readiness of a container. Times are those since its start.
#[derive(Debug)]
pub struct Readiness {
    timeout: Duration,
    /// When the first of the current successes began, and their number.
    successes: Option<(Duration, u32)>,
    last: Option<ProbeResult>,
}

impl Readiness {
    pub fn new(timeout: Duration) -> Self {
        Self {
            timeout,
            successes: None,
            last: None,
        }
    }

    /// Returns how long a probe that begins now may take; `None` if it is too late for one.
    pub fn probe_limit(&self, now: Duration) -> Option<Duration> {
        let left = self.timeout.checked_sub(now)?;
        (!left.is_zero()).then(|| left.min(PROBE_LIMIT))
    }

    /// Adds the result of a probe.
    pub fn add(&mut self, result: ProbeResult, began: Duration, ended: Duration) -> NextProbe {
        if matches!(result, ProbeResult::Exited(0, _)) {
            let (since, count) = self.successes.unwrap_or((began, 0));
            let count = count + 1;
            if count >= SUCCESSES && ended.saturating_sub(since) >= HOLD {
                return NextProbe::Ready;
            }
            self.successes = Some((since, count));
        } else {
            self.successes = None;
        }
        // A probe that was cut short by the end of the timeout says less than the one before.
        let is_cut_short = matches!(result, ProbeResult::Hanging(limit) if limit < PROBE_LIMIT);
        if !is_cut_short || self.last.is_none() {
            self.last = Some(result);
        }
        if ended + INTERVAL < self.timeout {
            NextProbe::After(INTERVAL)
        } else {
            NextProbe::TooLate
        }
    }

    /// Returns why the container is not ready: its last probe.
    pub fn reason(&self, command: &str) -> String {
        let waited = units::limit(self.timeout);
        let last = match &self.last {
            None => "no probe ended".to_owned(),
            Some(ProbeResult::Hanging(limit)) => {
                format!("`{command}` did not end within {}", units::limit(*limit))
            }
            Some(ProbeResult::NotStarted(error)) => format!("cannot run `{command}`: {error}"),
            Some(ProbeResult::Exited(0, _)) => {
                format!("`{command}` succeeded, but not for a second without interruption")
            }
            Some(ProbeResult::Exited(code, output)) => {
                let output = shortened(output);
                let separator = if output.is_empty() { "" } else { ": " };
                format!("`{command}` exited with {code}{separator}{output}")
            }
        };
        format!("not ready after {waited}: {last}")
    }
}

/// Returns the end of a probe's output in one line.
fn shortened(output: &str) -> String {
    let words: Vec<&str> = output.split_whitespace().collect();
    let line = words.join(" ");
    match line.chars().count().checked_sub(LONGEST_OUTPUT) {
        None | Some(0) => line,
        Some(excess) => format!("…{}", line.chars().skip(excess).collect::<String>()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUCCESS: ProbeResult = ProbeResult::Exited(0, String::new());

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn failure() -> ProbeResult {
        ProbeResult::Exited(2, "no\n response".to_owned())
    }

    /// Returns when it is ready, if each probe takes 20 ms.
    fn ready_at(results: impl IntoIterator<Item = ProbeResult>, timeout: u64) -> Option<u64> {
        let mut readiness = Readiness::new(ms(timeout));
        let mut now = 0;
        for result in results {
            readiness.probe_limit(ms(now))?;
            match readiness.add(result, ms(now), ms(now + 20)) {
                NextProbe::Ready => return Some(now + 20),
                NextProbe::After(pause) => now += 20 + pause.as_millis() as u64,
                NextProbe::TooLate => return None,
            }
        }
        None
    }

    #[test]
    fn successes_must_last_a_second() {
        let always = std::iter::repeat(SUCCESS);
        assert_eq!(ready_at(always, 60_000), Some(1300));
        let late = std::iter::repeat_n(failure(), 10).chain(std::iter::repeat(SUCCESS));
        assert_eq!(ready_at(late, 60_000), Some(4500));
    }

    #[test]
    fn a_restart_during_initialization_starts_anew() {
        // The temporary server answers three probes.
        let results = [SUCCESS, SUCCESS, SUCCESS, failure()];
        let results = results.into_iter().chain(std::iter::repeat(SUCCESS));
        assert_eq!(ready_at(results, 60_000), Some(2580));
        let flapping = [SUCCESS, SUCCESS, failure()].into_iter().cycle();
        assert_eq!(ready_at(flapping, 10_000), None);
    }

    #[test]
    fn slow_probes_must_succeed_several_times_too() {
        let mut readiness = Readiness::new(Duration::from_secs(60));
        let again = NextProbe::After(INTERVAL);
        assert_eq!(readiness.add(SUCCESS, ms(0), ms(4000)), again);
        assert_eq!(readiness.add(SUCCESS, ms(4300), ms(8300)), again);
        assert_eq!(readiness.add(SUCCESS, ms(8600), ms(9000)), NextProbe::Ready);
    }

    #[test]
    fn the_last_probe_is_the_reason() {
        let mut readiness = Readiness::new(Duration::from_secs(2));
        assert_eq!(
            readiness.reason("ping"),
            "not ready after 2s: no probe ended"
        );
        readiness.add(failure(), ms(0), ms(10));
        assert_eq!(
            readiness.reason("ping"),
            "not ready after 2s: `ping` exited with 2: no response"
        );
        assert_eq!(readiness.probe_limit(ms(1500)), Some(ms(500)));
        let hanging = ProbeResult::Hanging(ms(500));
        assert_eq!(
            readiness.add(hanging, ms(1500), ms(2000)),
            NextProbe::TooLate
        );
        assert_eq!(
            readiness.reason("ping"),
            "not ready after 2s: `ping` exited with 2: no response"
        );
        let mut readiness = Readiness::new(ms(500));
        readiness.add(ProbeResult::Hanging(ms(500)), ms(0), ms(500));
        assert_eq!(
            readiness.reason("ping"),
            "not ready after 0.5s: `ping` did not end within 0.5s"
        );
        assert_eq!(readiness.probe_limit(ms(500)), None);
        assert_eq!(
            Readiness::new(ms(60_000)).probe_limit(ms(0)),
            Some(PROBE_LIMIT)
        );
        assert_eq!(shortened(&"x".repeat(400)).chars().count(), 301);
    }
}
