//! Progress of a transfer: bar, amounts, rate and time left, as far as they fit.

use std::time::Duration;

use indicatif::{DecimalBytes, ProgressBar};

use super::bar_line::bar_line;
use crate::model::event::Measure;
use crate::report::text::width;

/// Rates over a shorter time are not meaningful.
const RATE_MINIMUM: Duration = Duration::from_millis(400);

const MIN_BAR: usize = 8;
const MAX_BAR: usize = 24;

/// A transfer in progress.
#[derive(Debug)]
pub struct ActiveTransfer {
    measure: Measure,
    progress: ProgressBar,
    /// Counts bytes, whatever the measure.
    moved: ProgressBar,
}

impl ActiveTransfer {
    /// Returns a transfer that starts with this progress. The total is zero if it is unknown.
    pub fn new(measure: Measure, done: u64, total: u64, bytes: u64) -> Self {
        let transfer = Self {
            measure,
            progress: ProgressBar::hidden(),
            moved: ProgressBar::hidden(),
        };
        transfer.set(done, total, bytes);
        // What was there before does not count for rate and time left.
        transfer.progress.reset_eta();
        transfer.moved.reset_eta();
        transfer
    }

    /// Updates the progress.
    pub fn update(&mut self, measure: Measure, done: u64, total: u64, bytes: u64) {
        let is_another = measure != self.measure || bytes < self.moved.position();
        if is_another {
            *self = Self::new(measure, done, total, bytes);
        } else {
            self.set(done, total, bytes);
        }
    }

    fn set(&self, done: u64, total: u64, bytes: u64) {
        if total > 0 {
            self.progress.set_length(total);
            self.progress.set_position(done.min(total));
        } else {
            self.progress.unset_length();
            self.progress.set_position(done);
        }
        self.moved.set_position(bytes);
    }

    /// Returns the percentage, if the total is known.
    pub fn percent(&self) -> Option<u64> {
        let total = self.progress.length()?;
        Some(self.progress.position() * 100 / total)
    }

    /// Returns the text that fits into `columns`.
    pub fn text(&self, columns: usize) -> String {
        let amounts = self.amounts();
        let rate = self
            .rate()
            .map(|rate| format!("  {}/s", DecimalBytes(rate)));
        let rate = rate.unwrap_or_default();
        let with_rate = format!("{amounts}{rate}");
        let with_time = self.time_left().map(|left| format!("{with_rate}  {left}"));
        let percent = self.percent().map(|percent| format!("{percent}%"));
        if percent.is_some() {
            let room = |text: &String| columns.saturating_sub(2 + width(text)).min(MAX_BAR);
            let mut texts = with_time.iter().chain([&with_rate]);
            if let Some(text) = texts.find(|text| room(text) >= MIN_BAR) {
                let bar = bar_line(&self.progress, "{wide_bar}", room(text));
                return format!("{bar}  {text}");
            }
        }
        let percent_with_rate = percent.as_ref().map(|percent| format!("{percent}{rate}"));
        [Some(with_rate), percent_with_rate, Some(amounts), percent]
            .into_iter()
            .flatten()
            .find(|text| width(text) <= columns)
            .unwrap_or_default()
    }

    /// Returns the transferred amount and the total.
    pub fn amounts(&self) -> String {
        let is_total_known = self.progress.length().is_some();
        let counted = if is_total_known {
            "{pos} of {len}"
        } else {
            "{pos}"
        };
        let with_bytes = |noun: &str| match self.moved.position() {
            0 => format!("{counted} {noun}"),
            moved => format!("{counted} {noun}, {}", DecimalBytes(moved)),
        };
        let template = match self.measure {
            Measure::Bytes if is_total_known => {
                "{decimal_bytes} of {decimal_total_bytes}".to_owned()
            }
            Measure::Bytes => "{decimal_bytes}".to_owned(),
            Measure::Objects => with_bytes("objects"),
            Measure::Deltas => format!("{counted} deltas"),
            Measure::Files => with_bytes("files"),
        };
        bar_line(&self.progress, &template, MAX_BAR)
    }

    /// Returns the bytes per second, if the transfer counts bytes and has taken long enough.
    fn rate(&self) -> Option<u64> {
        let counts_bytes = matches!(self.measure, Measure::Bytes | Measure::Objects);
        let rate = self.moved.per_sec();
        (counts_bytes && self.is_meaningful() && rate > 0.0).then_some(rate as u64)
    }

    /// Returns the estimate, if there is one.
    fn time_left(&self) -> Option<String> {
        let is_unfinished = self.progress.position() < self.progress.length()?;
        let is_advancing = self.is_meaningful() && self.progress.per_sec() > 0.0;
        (is_unfinished && is_advancing).then(|| bar_line(&self.progress, "{eta} left", MAX_BAR))
    }

    fn is_meaningful(&self) -> bool {
        self.progress.elapsed() >= RATE_MINIMUM
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MB: u64 = 1_000_000;

    fn push(done: u64) -> ActiveTransfer {
        ActiveTransfer::new(Measure::Bytes, done, 40 * MB, done)
    }

    #[test]
    fn parts_that_fit_are_shown() {
        let push = push(20 * MB);
        let full = "━━━━━━━━━━━━────────────  20.00 MB of 40.00 MB";
        assert_eq!(push.text(80), full);
        assert_eq!(push.text(40), "━━━━━━━━━─────────  20.00 MB of 40.00 MB");
        assert_eq!(push.text(29), "20.00 MB of 40.00 MB");
        assert_eq!(push.text(10), "50%");
        assert_eq!(push.text(1), "");
    }

    #[test]
    fn rate_and_time_left_follow_if_there_is_room() {
        let mut push = push(10 * MB);
        std::thread::sleep(RATE_MINIMUM);
        push.update(Measure::Bytes, 20 * MB, 40 * MB, 20 * MB);
        let text = push.text(80);
        let (bar_and_amounts, rest) = text.split_once(" of 40.00 MB  ").unwrap();
        assert_eq!(bar_and_amounts, "━━━━━━━━━━━━────────────  20.00 MB");
        let (rate, left) = rest.split_once(" MB/s  ").unwrap();
        // Only what came after the first 10 MB counts; a busy machine sleeps longer.
        assert!((5.0..=25.0).contains(&rate.parse().unwrap()), "{text}");
        assert!(left.ends_with("s left"), "{text}");
        assert!(push.text(25).starts_with("50%  ") && push.text(25).contains("MB/s"));
        for columns in 0..80 {
            let text = push.text(columns);
            assert!(width(&text) <= columns, "{text:?} in {columns}");
        }
        // Restarts from the first byte.
        push.update(Measure::Bytes, 0, MB, 0);
        assert_eq!(push.text(40), "────────────────────────  0 B of 1.00 MB");
    }

    #[test]
    fn clones_show_objects_and_bytes() {
        let mut clone = ActiveTransfer::new(Measure::Objects, 120, 300, 3 * MB);
        assert_eq!(clone.amounts(), "120 of 300 objects, 3.00 MB");
        clone.update(Measure::Deltas, 5, 90, 7 * MB);
        assert_eq!(clone.amounts(), "5 of 90 deltas");
        clone.update(Measure::Files, 5, 0, 0);
        assert_eq!(clone.amounts(), "5 files");
        assert_eq!(clone.percent(), None);
    }
}
