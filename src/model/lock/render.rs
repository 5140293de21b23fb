//! Writes the lock's text: deterministic, sorted, one value per line.

use std::fmt::{self, Write as _};

use super::{Lock, VERSION};

/// The comment at the top of a new lock.
pub(super) const HEADER: &str = "\
# Written by `xp lock`, which also updates it. Do not edit it; commit it.
# `xp build --locked` builds exactly this, `xp diff` shows what changed.
";

impl Lock {
    /// Returns the text of the file.
    pub fn render(&self) -> String {
        let mut text = self.header.as_deref().unwrap_or(HEADER).to_owned();
        _ = writeln!(text, "version: {VERSION}");
        if self.services.is_empty() {
            text.push_str("services: {}\n");
            return text;
        }
        text.push_str("services:\n");
        for (name, service) in &self.services {
            _ = writeln!(text, "  {}:", scalar(name.as_str()));
            let mut line = |key: &str, value: Option<&dyn fmt::Display>| {
                if let Some(value) = value {
                    _ = writeln!(text, "    {key}: {}", scalar(&value.to_string()));
                }
            };
            line(service.remote.key(), Some(&service.remote));
            line("reference", Some(&service.reference));
            line("name", display(service.name.as_ref()));
            line("path", display(service.path.as_ref()));
            line("commit", Some(&service.commit));
            line("image", Some(&service.image));
            line("digest", display(service.digest.as_ref()));
            line("recipe", Some(&service.recipe));
            line("builder", display(service.builder.as_ref()));
            if !service.bases.is_empty() {
                text.push_str("    bases:\n");
            }
            for (base, digest) in &service.bases {
                let (base, digest) = (base.to_string(), digest.to_string());
                _ = writeln!(text, "      {}: {}", scalar(&base), scalar(&digest));
            }
        }
        text
    }
}

fn display<T: fmt::Display>(value: Option<&T>) -> Option<&dyn fmt::Display> {
    value.map(|value| value as &dyn fmt::Display)
}

/// Returns a text as a YAML scalar, in double quotes if a parser might misinterpret it.
fn scalar(text: &str) -> String {
    if is_plain(text) {
        return text.to_owned();
    }
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            ' '..='~' => quoted.push(c),
            c if c.is_alphanumeric() => quoted.push(c),
            c if u32::from(c) <= 0xffff => _ = write!(quoted, "\\u{:04x}", u32::from(c)),
            c => _ = write!(quoted, "\\U{:08x}", u32::from(c)),
        }
    }
    quoted.push('"');
    quoted
}

/// Returns whether every YAML 1.1 and 1.2 parser reads the text as a string, even without quotes.
fn is_plain(text: &str) -> bool {
    let is_safe = |c: char| c.is_ascii_alphanumeric() || "_./:@+~-".contains(c);
    let starts_well = text.starts_with(|c: char| c.is_ascii_alphanumeric() || "_/".contains(c));
    starts_well
        && text.chars().all(is_safe)
        // This would make it a mapping key.
        && !text.ends_with(':')
        && !looks_like_a_number(text)
        && !matches!(
            text.to_ascii_lowercase().as_str(),
            "y" | "n" | "yes" | "no" | "on" | "off" | "true" | "false" | "null"
        )
}

/// Returns whether a parser may read the text as a number or a time. Some commits look like numbers: only digits and
/// an `e`.
fn looks_like_a_number(text: &str) -> bool {
    let radix = ["0x", "0o", "0b"].iter().find_map(|prefix| {
        let digits = text.strip_prefix(prefix)?;
        Some(digits.chars().all(|c| c.is_ascii_hexdigit() || c == '_'))
    });
    let decimal = |c: char| c.is_ascii_digit() || "eE+-._:TtZz".contains(c);
    radix == Some(true)
        || text.starts_with(|c: char| c.is_ascii_digit()) && text.chars().all(decimal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ambiguous_scalars_are_quoted() {
        for plain in [
            "zbackend",
            "git@h:x/y.git",
            "https://h/x",
            "refs/heads/a+b",
            "1b1bd2d0a7a0d8f0d8f0d8f0d8f0d8f0d8f0d8ff",
            "/srv/x",
            "_",
            "a-b.c",
            "0.x",
        ] {
            assert_eq!(scalar(plain), plain);
        }
        for quoted in [
            "",
            "1",
            "1.10",
            "12e4",
            "0123456789012345678901234567890123456789",
            "0b0101",
            "0x1f",
            "no",
            "Null",
            "~",
            "~x",
            "-x",
            ".inf",
            "a#b",
            "a:",
            "2026-11-21",
            "12:30:45",
            "a b",
            "%x",
            "!x",
            "a'b",
            "a,b",
            "{a}",
        ] {
            assert_eq!(scalar(quoted), format!("\"{quoted}\""));
        }
        assert_eq!(
            scalar("ä\"\\\u{1b}\u{2028}\u{1F600}"),
            "\"ä\\\"\\\\\\u001b\\u2028\\U0001f600\""
        );
    }
}
