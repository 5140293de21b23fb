//! Parses durations, amounts of memory, and numbers of CPUs.

use std::time::Duration;

/// Parses `90s`, `30m`, `1h30m`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    const UNITS: [(&str, u64); 4] = [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)];
    let invalid =
        || format!("invalid duration `{text}`: expected a value such as `90s`, `30m` or `1h30m`");
    let mut seconds: u64 = 0;
    let mut rest = text;
    let mut units = UNITS.iter();
    while !rest.is_empty() {
        let (number, tail) = split_number(rest).ok_or_else(invalid)?;
        // Each unit at most once and in this order: `find` continues where it stopped.
        let (unit, factor) = units
            .find(|(unit, _)| tail.starts_with(unit))
            .ok_or_else(invalid)?;
        let number: u64 = number.parse().map_err(|_| invalid())?;
        seconds = number
            .checked_mul(*factor)
            .and_then(|part| seconds.checked_add(part))
            .filter(|seconds| *seconds <= 366 * 86_400)
            .ok_or_else(|| format!("invalid duration `{text}`: longer than a year"))?;
        rest = tail[unit.len()..].trim_start();
    }
    if seconds == 0 {
        return Err(format!(
            "invalid duration `{text}`: must not be zero; remove the key for no limit"
        ));
    }
    Ok(Duration::from_secs(seconds))
}

/// Parses `512m`, `2g`, `1.5GiB` or a number of bytes; units are powers of 1024, as in Docker.
pub(super) fn memory(text: &str) -> Result<u64, String> {
    match amount(text) {
        None => Err(format!(
            "invalid memory size `{text}`: expected a value such as `512m` or `2g`"
        )),
        Some(0..0x60_0000) => Err(format!(
            "invalid memory size `{text}`: the engine requires at least `6m`"
        )),
        Some(bytes) => Ok(bytes),
    }
}

/// Parses a size on disk, in the syntax of [`memory`].
pub(super) fn bytes(text: &str) -> Result<u64, String> {
    let invalid = || format!("invalid size `{text}`: expected a value such as `500m` or `20g`");
    amount(text).ok_or_else(invalid)
}

/// Parses an amount of bytes that fits into a signed number, which the engine uses.
fn amount(text: &str) -> Option<u64> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim_start().to_ascii_lowercase();
    let shift = match unit
        .strip_suffix("ib")
        .or(unit.strip_suffix('b'))
        .unwrap_or(&unit)
    {
        "" if !unit.ends_with("ib") => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return None,
    };
    // Nine decimal places are precise enough, and 128 bits cannot overflow.
    let billionths = u128::from(billionths(number)?);
    let bytes = u64::try_from((billionths << shift) / 1_000_000_000).ok()?;
    i64::try_from(bytes).is_ok().then_some(bytes)
}

/// Parses a number of CPUs such as `2` or `0.5` into billionths of a CPU.
pub(super) fn cpus(text: &str) -> Result<u64, String> {
    match billionths(text) {
        None => Err(format!(
            "invalid number of CPUs `{text}`: expected a value such as `2` or `0.5`"
        )),
        Some(0..10_000_000) => Err(format!(
            "invalid number of CPUs `{text}`: the engine requires at least `0.01`"
        )),
        Some(billionths) => Ok(billionths),
    }
}

fn split_number(text: &str) -> Option<(&str, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    (end > 0).then(|| text.split_at(end))
}

fn billionths(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(whole) || !is_number(fraction) || fraction.len() > 9 {
        return None;
    }
    let whole: u64 = whole.parse().ok()?;
    let fraction: u64 = format!("{fraction:0<9}").parse().ok()?;
    whole.checked_mul(1_000_000_000)?.checked_add(fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, seconds) in [
            ("90s", 90),
            ("30m", 1800),
            ("1h30m", 5400),
            ("1h 5s", 3605),
            ("1d", 86_400),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for invalid in [
            "",
            "30",
            "m",
            "-1m",
            "1.5h",
            "30m1h",
            "1m1m",
            "0s",
            "5 minutes",
            "1w",
            "99999999999999999999s",
            "9999999d",
            "1ms",
        ] {
            assert!(duration(invalid).is_err(), "{invalid}");
        }
    }

    #[test]
    fn memory_is_in_powers_of_1024() {
        for (text, bytes) in [
            ("512m", 512 << 20),
            ("2g", 2 << 30),
            ("2G", 2 << 30),
            ("2GB", 2 << 30),
            ("2 GiB", 2 << 30),
            ("1.5g", 3 << 29),
            ("8388608", 8 << 20),
            ("8388608b", 8 << 20),
            ("1t", 1 << 40),
            ("6m", 6 << 20),
        ] {
            assert_eq!(memory(text), Ok(bytes), "{text}");
        }
        for invalid in [
            "",
            "g",
            "-1g",
            "1x",
            "1gg",
            "5m",
            "0",
            "1ib",
            "1..5g",
            "99999999999g",
            "18446744073709551615",
            "1e9",
        ] {
            assert!(memory(invalid).is_err(), "{invalid}");
        }
    }

    #[test]
    fn cpus_are_in_billionths() {
        assert_eq!(cpus("2"), Ok(2_000_000_000));
        assert_eq!(cpus("0.5"), Ok(500_000_000));
        for invalid in [
            "",
            "0",
            "0.001",
            "-1",
            ".5",
            "1.",
            "two",
            "1e3",
            "1.0000000001",
            "99999999999999999999",
        ] {
            assert!(cpus(invalid).is_err(), "{invalid}");
        }
    }
}
