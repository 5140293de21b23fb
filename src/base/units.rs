//! Formats amounts and durations. Pure.

use std::time::Duration;

/// Formats a size on disk in powers of 1024, rounded down: `512 bytes`, `1.5 MiB`, `45 GiB`.
pub fn disk_size(count: u64) -> String {
    const UNITS: [&str; 5] = ["bytes", "KiB", "MiB", "GiB", "TiB"];
    let mut amount = count;
    let mut unit = 0;
    // One decimal, for small amounts only.
    let mut rest = 0;
    while amount >= 1024 && unit + 1 < UNITS.len() {
        rest = amount % 1024 * 10 / 1024;
        amount /= 1024;
        unit += 1;
    }
    match (amount, rest) {
        (..10, 1..) => format!("{amount}.{rest} {}", UNITS[unit]),
        _ => format!("{amount} {}", UNITS[unit]),
    }
}

/// Formats a duration: `0.3s`, `12s`, `3m05s`, `1h02m`.
pub fn elapsed(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..10 => format!("{:.1}s", duration.as_secs_f64()),
        10..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h{:02}m", seconds / 3600, seconds % 3600 / 60),
    }
}

/// Formats a limit or a pause as one would write it: `3s`, `0.5s`, `5m`, `1h30m`.
pub fn limit(duration: Duration) -> String {
    let seconds = duration.as_secs();
    if seconds < 10 && duration.subsec_millis() >= 50 {
        let text = format!("{:.1}", duration.as_secs_f64());
        return format!("{}s", text.trim_end_matches(".0"));
    }
    let parts = [
        (seconds / 3600, "h"),
        (seconds / 60 % 60, "m"),
        (seconds % 60, "s"),
    ];
    let parts = parts.into_iter().filter(|(amount, _)| *amount > 0);
    let text: String = parts
        .map(|(amount, unit)| format!("{amount}{unit}"))
        .collect();
    if text.is_empty() {
        "0s".to_owned()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_a_fitting_unit() {
        assert_eq!(disk_size(1023), "1023 bytes");
        assert_eq!(disk_size(1536), "1.5 KiB");
        assert_eq!(disk_size(15 << 30), "15 GiB");
    }

    #[test]
    fn limits_are_shown_as_they_are_set() {
        assert_eq!(limit(Duration::from_secs(3)), "3s");
        assert_eq!(limit(Duration::from_secs(5400)), "1h30m");
        assert_eq!(limit(Duration::ZERO), "0s");
        assert_eq!(limit(Duration::from_millis(450)), "0.5s");
        assert_eq!(limit(Duration::from_millis(2999)), "3s");
        assert_eq!(limit(Duration::from_millis(12_500)), "12s");
    }

    #[test]
    fn durations_are_short() {
        assert_eq!(elapsed(Duration::from_millis(340)), "0.3s");
        assert_eq!(elapsed(Duration::from_secs(12)), "12s");
        assert_eq!(elapsed(Duration::from_secs(185)), "3m05s");
        assert_eq!(elapsed(Duration::from_secs(3720)), "1h02m");
    }
}
