//! Progress of a transfer: bar, amounts and rate, as far as they fit.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::base::units::{bytes, bytes_of};
use crate::model::event::Measure;
use crate::report::text::width;

/// The rate is averaged over this time: responsive, but steady enough to read.
const RATE_WINDOW: Duration = Duration::from_secs(4);

/// Rates over a shorter time are not meaningful.
const RATE_MINIMUM: Duration = Duration::from_millis(400);

const MIN_BAR: usize = 8;
const MAX_BAR: usize = 24;

/// A transfer in progress.
#[derive(Debug)]
pub struct ActiveTransfer {
    measure: Measure,
    done: u64,
    total: u64,
    bytes: u64,
    /// Bytes transferred at each time.
    samples: VecDeque<(Instant, u64)>,
}

impl ActiveTransfer {
    /// Returns a transfer without any progress.
    pub fn new(measure: Measure) -> Self {
        Self {
            measure,
            done: 0,
            total: 0,
            bytes: 0,
            samples: VecDeque::new(),
        }
    }

    /// Updates the progress.
    pub fn update(&mut self, now: Instant, measure: Measure, done: u64, total: u64, bytes: u64) {
        if bytes < self.bytes {
            // The transfer restarted.
            self.samples.clear();
        }
        (self.measure, self.done, self.total, self.bytes) = (measure, done, total, bytes);
        self.samples.push_back((now, bytes));
        // Keep one sample older than the window as the baseline.
        while self
            .samples
            .get(1)
            .is_some_and(|(at, _)| now.duration_since(*at) >= RATE_WINDOW)
        {
            self.samples.pop_front();
        }
    }

    /// Returns the percentage, if the total is known.
    pub fn percent(&self) -> Option<u64> {
        (self.total > 0).then(|| self.done.min(self.total) * 100 / self.total)
    }

    /// Returns the text that fits into `columns`.
    pub fn text(&self, now: Instant, columns: usize) -> String {
        let amounts = self.amounts();
        let with_rate = match self.rate(now) {
            Some(rate) => format!("{amounts}  {}/s", bytes(rate)),
            None => amounts.clone(),
        };
        let bar = columns.saturating_sub(width(&with_rate) + 2);
        if self.total > 0 && bar >= MIN_BAR {
            return format!("{}  {with_rate}", self.bar(bar.min(MAX_BAR)));
        }
        let percent = self.percent().map(|percent| format!("{percent}%"));
        [Some(with_rate), Some(amounts), percent]
            .into_iter()
            .flatten()
            .find(|text| width(text) <= columns)
            .unwrap_or_default()
    }

    /// Returns the transferred amount and the total.
    pub fn amounts(&self) -> String {
        let (done, total) = (self.done, self.total);
        let counted = |noun: &str| match total {
            0 => format!("{done} {noun}"),
            _ => format!("{done} of {total} {noun}"),
        };
        let with_bytes = |text: String| match self.bytes {
            0 => text,
            moved => format!("{text}, {}", bytes(moved)),
        };
        match self.measure {
            Measure::Bytes if total == 0 => bytes(done),
            Measure::Bytes => bytes_of(done.min(total), total),
            Measure::Objects => with_bytes(counted("objects")),
            Measure::Deltas => counted("deltas"),
            Measure::Files => with_bytes(counted("files")),
        }
    }

    /// Returns the bytes per second, if the transfer counts bytes and enough samples are known.
    fn rate(&self, now: Instant) -> Option<u64> {
        let ((from, before), (_, after)) = (self.samples.front()?, self.samples.back()?);
        let took = now.duration_since(*from);
        let is_moving = matches!(self.measure, Measure::Bytes | Measure::Objects);
        if !is_moving || took < RATE_MINIMUM || self.samples.len() < 2 {
            return None;
        }
        Some(((after - before) as f64 / took.as_secs_f64()) as u64)
    }

    fn bar(&self, columns: usize) -> String {
        let done = self.done.min(self.total);
        let full = (u128::from(done) * columns as u128 / u128::from(self.total.max(1))) as usize;
        "━".repeat(full) + &"─".repeat(columns - full)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MB: u64 = 1_000_000;

    #[test]
    fn parts_that_fit_are_shown() {
        let start = Instant::now();
        let mut push = ActiveTransfer::new(Measure::Bytes);
        push.update(start, Measure::Bytes, 10 * MB, 40 * MB, 10 * MB);
        let now = start + Duration::from_secs(2);
        push.update(now, Measure::Bytes, 20 * MB, 40 * MB, 20 * MB);
        assert_eq!(
            push.text(now, 80),
            "━━━━━━━━━━━━────────────  20.0 of 40.0 MB  5.0 MB/s"
        );
        assert_eq!(
            push.text(now, 40),
            "━━━━━━───────  20.0 of 40.0 MB  5.0 MB/s"
        );
        assert_eq!(push.text(now, 30), "20.0 of 40.0 MB  5.0 MB/s");
        assert_eq!(push.text(now, 20), "20.0 of 40.0 MB");
        assert_eq!(push.text(now, 10), "50%");
        assert_eq!(push.text(now, 1), "");
    }

    #[test]
    fn the_rate_covers_the_last_seconds() {
        let start = Instant::now();
        let mut pull = ActiveTransfer::new(Measure::Bytes);
        for second in 0..10 {
            let bytes = if second < 5 {
                second * 100 * MB
            } else {
                400 * MB
            };
            let now = start + Duration::from_secs(second);
            pull.update(now, Measure::Bytes, bytes, 1000 * MB, bytes);
        }
        assert_eq!(pull.rate(start + Duration::from_secs(9)), Some(0));
        // Restarts from the first byte.
        pull.update(start + Duration::from_secs(10), Measure::Bytes, 0, MB, 0);
        assert_eq!(pull.rate(start + Duration::from_secs(11)), None);
    }

    #[test]
    fn clones_show_objects_and_bytes() {
        let now = Instant::now();
        let mut clone = ActiveTransfer::new(Measure::Objects);
        clone.update(now, Measure::Objects, 120, 300, 3 * MB);
        assert_eq!(clone.amounts(), "120 of 300 objects, 3.0 MB");
        clone.update(now, Measure::Deltas, 5, 90, 7 * MB);
        assert_eq!(clone.amounts(), "5 of 90 deltas");
        clone.update(now, Measure::Files, 5, 0, 0);
        assert_eq!(clone.amounts(), "5 files");
        assert_eq!(clone.percent(), None);
    }
}
