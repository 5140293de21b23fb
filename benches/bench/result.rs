//! Results of a case: tables and targets.

use std::time::Duration;

use crate::measure::{Measured, Ratio};

/// Results of a case.
pub struct Case {
    /// Its name on the command line.
    pub name: &'static str,
    pub title: &'static str,
    /// Description of the measurement.
    pub setup: String,
    pub tables: Vec<Table>,
    pub targets: Vec<Target>,
}

/// One comparison.
pub struct Table {
    pub title: String,
    pub head: Vec<&'static str>,
    pub rows: Vec<Vec<String>>,
}

/// A target and the result.
pub struct Target {
    pub text: String,
    pub is_met: bool,
    pub found: String,
}

impl Target {
    /// An upper limit.
    pub fn at_most(text: impl Into<String>, found: f64, limit: f64, unit: &str) -> Self {
        Self {
            text: text.into(),
            is_met: found <= limit,
            found: format!("{} {unit}", number(found)).trim().to_owned(),
        }
    }

    /// A lower limit.
    pub fn at_least(text: impl Into<String>, found: f64, limit: f64, unit: &str) -> Self {
        Self {
            is_met: found >= limit,
            ..Self::at_most(text, found, limit, unit)
        }
    }
}

impl Table {
    /// Compares the others with the first: their times as multiples of its time.
    pub fn of(title: impl Into<String>, measured: &[Measured]) -> Self {
        let reference = &measured[0];
        let rows = measured.iter().enumerate().map(|(index, it)| {
            let ratio = match index {
                0 => "1".to_owned(),
                _ => spread(Ratio::of(it, reference)),
            };
            let dash = || "–".to_owned();
            vec![
                it.name.clone(),
                time(it.time()),
                ratio,
                it.count(|cost| cost.requests).to_string(),
                it.count(|cost| cost.connections).to_string(),
                bytes(it.count(|cost| cost.bytes)),
                it.programs.map_or_else(dash, |count| count.to_string()),
                it.peak().map_or_else(dash, |peak| bytes(peak * 1024)),
            ]
        });
        Self {
            title: title.into(),
            head: vec![
                "",
                "time",
                "ratio",
                "requests",
                "connections",
                "bytes",
                "programs",
                "memory",
            ],
            rows: rows.collect(),
        }
    }
}

/// A ratio and its spread: `31.2 (29.8–33.0)`.
pub fn spread(ratio: Ratio) -> String {
    let [median, least, most] = [ratio.median, ratio.least, ratio.most].map(number);
    format!("{median} ({least}–{most})")
}

/// Formats a time with its significant digits.
pub fn time(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    match seconds {
        10.0.. => format!("{seconds:.1} s"),
        0.1.. => format!("{seconds:.2} s"),
        _ => format!("{:.1} ms", seconds * 1000.0),
    }
}

/// Formats a number with three significant digits.
pub fn number(number: f64) -> String {
    match number.abs() {
        100.0.. => format!("{number:.0}"),
        10.0.. => format!("{number:.1}"),
        _ => format!("{number:.2}"),
    }
}

/// Formats a number of bytes.
pub fn bytes(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let exact = bytes as f64;
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{:.0} KiB", exact / 1024.0),
        1_048_576..1_073_741_824 => format!("{:.1} MiB", exact / 1_048_576.0),
        _ => format!("{:.2} GiB", exact / 1_073_741_824.0),
    }
}
