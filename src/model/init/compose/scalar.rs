//! Unquoted numbers and booleans, as compose reads them.

/// Returns the text that compose uses for an unquoted scalar, if it is another one: `1.10` is the number 1.1.
pub(super) fn reread(text: &str) -> Option<String> {
    let read = match text {
        "True" | "TRUE" => Some("true".to_owned()),
        "False" | "FALSE" => Some("false".to_owned()),
        _ => number(text),
    };
    read.filter(|read| read != text)
}

fn number(text: &str) -> Option<String> {
    let first = text.chars().next()?;
    if !first.is_ascii_digit() && !"+-.".contains(first) {
        return None;
    }
    let plain = text.replace('_', "");
    if first != '.'
        && let Some(number) = integer(&plain)
    {
        return Some(number.to_string());
    }
    is_float(&plain).then(|| plain.parse().ok().map(float))?
}

/// Parses an integer with an optional sign and prefix; a leading zero means octal.
fn integer(text: &str) -> Option<i128> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let lower = digits.to_ascii_lowercase();
    let prefixes = [("0x", 16), ("0o", 8), ("0b", 2), ("0", 8)];
    let prefixed = prefixes.iter().find_map(|(prefix, radix)| {
        let digits = lower.strip_prefix(prefix).filter(|rest| !rest.is_empty())?;
        Some((digits.to_owned(), *radix))
    });
    let (digits, radix) = prefixed.unwrap_or((lower, 10));
    if digits.starts_with(['+', '-']) {
        return None;
    }
    let value = i128::from_str_radix(&digits, radix).ok()?;
    let range = i128::from(i64::MIN)..=i128::from(u64::MAX);
    Some(sign * value).filter(|value| range.contains(value))
}

fn is_float(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let is_part = |c: char| c.is_ascii_digit() || ".eE+-".contains(c);
    unsigned.contains(|c: char| c.is_ascii_digit()) && unsigned.chars().all(is_part)
}

/// Formats a number as Go does: with an exponent if it is very large or small.
fn float(value: f64) -> String {
    let size = value.abs();
    if size == 0.0 || (1e-4..1e6).contains(&size) {
        return value.to_string();
    }
    let text = format!("{value:e}");
    let Some((digits, exponent)) = text.split_once('e') else {
        return text;
    };
    match exponent.strip_prefix('-') {
        Some(exponent) => format!("{digits}e-{exponent:0>2}"),
        None => format!("{digits}e+{exponent:0>2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_lose_their_notation() {
        for (text, expected) in [
            ("1.10", Some("1.1")),
            ("1.0", Some("1")),
            ("010", Some("8")),
            ("08", Some("8")),
            ("0x1F", Some("31")),
            ("0b11", Some("3")),
            ("0o17", Some("15")),
            ("0o18", None),
            ("1_000", Some("1000")),
            ("+5", Some("5")),
            ("1e3", Some("1000")),
            ("1e21", Some("1e+21")),
            ("100000.5", None),
            ("123456789.5", Some("1.234567895e+08")),
            ("0.00001", Some("1e-05")),
            (".5", Some("0.5")),
            ("TRUE", Some("true")),
            ("true", None),
            ("yes", None),
            ("1.2.3", None),
            ("12:30", None),
            ("22", None),
            ("-", None),
            ("1-2", None),
            ("", None),
        ] {
            assert_eq!(reread(text).as_deref(), expected, "{text}");
        }
    }
}
