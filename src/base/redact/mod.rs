//! Redaction of secrets in output. Pure.

mod url;

use std::cmp::Reverse;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

pub use url::{with_masked_urls, without_credentials};

/// The replacement for a secret.
pub const REDACTED: &str = "***";

/// Shorter lines of secrets are not redacted, because they occur in too many messages.
const SHORTEST_LINE: usize = 4;

/// The secrets that must not be in output.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Redactor {
    /// Longest first, because one value may contain another.
    values: Vec<String>,
}

impl Redactor {
    /// Returns a redactor for these exact values.
    pub fn of(values: impl IntoIterator<Item = String>) -> Self {
        let mut redactor = Self::default();
        redactor.extend(values);
        redactor
    }

    /// Adds texts and each of their lines, because a program may quote a single line.
    pub fn add_lines<'t>(&mut self, texts: impl IntoIterator<Item = &'t str>) {
        let parts = texts
            .into_iter()
            .flat_map(|text| text.lines().chain([text]).map(str::trim));
        self.extend(
            parts
                .filter(|part| part.len() >= SHORTEST_LINE)
                .map(str::to_owned),
        );
    }

    fn extend(&mut self, values: impl IntoIterator<Item = String>) {
        let values = values.into_iter().filter(|value| !value.is_empty());
        self.values.extend(values);
        self.values
            .sort_by(|a, b| (Reverse(a.len()), a).cmp(&(Reverse(b.len()), b)));
        self.values.dedup();
    }

    /// Returns a text with the values redacted.
    pub fn text(&self, text: &str) -> String {
        if !self
            .values
            .iter()
            .any(|value| text.contains(value.as_str()))
        {
            return text.to_owned();
        }
        let (shown, _) = self.redact(text.as_bytes(), &mut 0, false);
        String::from_utf8_lossy(&shown).into_owned()
    }

    /// Returns a redactor for output that arrives in pieces.
    pub fn stream(&self) -> RedactedStream {
        RedactedStream {
            redactor: self.clone(),
            held: Mutex::default(),
        }
    }

    /// Returns bytes with the values redacted, and if more may follow, the end that may be the start of a value.
    /// `secret` is the number of bytes at the start that belong to a value.
    fn redact<'b>(
        &self,
        bytes: &'b [u8],
        secret: &mut usize,
        may_go_on: bool,
    ) -> (Vec<u8>, &'b [u8]) {
        let values = || self.values.iter().map(String::as_bytes);
        let mut shown = Vec::with_capacity(bytes.len());
        let mut rest = bytes;
        while let Some((first, others)) = rest.split_first() {
            let is_begun = |value: &[u8]| value.len() > rest.len() && value.starts_with(rest);
            if may_go_on && values().any(is_begun) {
                break;
            }
            let found = values().find(|value| rest.starts_with(value));
            let length = found.map_or(0, <[u8]>::len);
            if *secret == 0 && length > 0 {
                shown.extend_from_slice(REDACTED.as_bytes());
            }
            // A value may begin within another.
            *secret = length.max(*secret);
            match secret.checked_sub(1) {
                Some(remaining) => *secret = remaining,
                None => shown.push(*first),
            }
            rest = others;
        }
        (shown, rest)
    }
}

// Must not print values.
impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} values", self.values.len())
    }
}

/// A redactor to which values can be added while it is in use.
#[derive(Debug, Clone, Default)]
pub struct SharedRedactor(Arc<Mutex<Redactor>>);

impl SharedRedactor {
    /// Adds the values of another redactor.
    pub fn merge(&self, more: Redactor) {
        locked(&self.0).extend(more.values);
    }

    /// Returns a text with the values redacted.
    pub fn text(&self, text: &str) -> String {
        locked(&self.0).text(text)
    }
}

/// Redacts output that arrives in pieces. A value may be split, so the end of a piece that may be the start of a
/// value is held back.
pub struct RedactedStream {
    redactor: Redactor,
    /// The output held back, and how much of it belongs to a value.
    held: Mutex<(Vec<u8>, usize)>,
}

impl RedactedStream {
    /// Takes the next piece, and returns the output that can be shown.
    pub fn push(&self, piece: Bytes) -> Bytes {
        if self.redactor.values.is_empty() {
            return piece;
        }
        let (held, secret) = &mut *locked(&self.held);
        held.extend_from_slice(&piece);
        let (shown, rest) = self.redactor.redact(held, secret, true);
        *held = rest.to_vec();
        shown.into()
    }

    /// Returns the output held back, at the end.
    pub fn end(&self) -> Bytes {
        let (held, mut secret) = std::mem::take(&mut *locked(&self.held));
        self.redactor.redact(&held, &mut secret, false).0.into()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redactor(values: &[&str]) -> Redactor {
        Redactor::of(values.iter().map(|value| (*value).to_owned()))
    }

    #[test]
    fn values_are_redacted_across_pieces() {
        let redactor = redactor(&["abc", "abcd", "", "cxx"]);
        assert_eq!(redactor.text("x abcd"), "x ***");
        let printed = b"abcabcd \xff abc-ab abcxx abab";
        // At every split position.
        for size in 1..=printed.len() {
            let stream = redactor.stream();
            let mut shown = Vec::new();
            for piece in printed.chunks(size) {
                shown.extend_from_slice(&stream.push(Bytes::copy_from_slice(piece)));
            }
            shown.extend_from_slice(&stream.end());
            assert_eq!(shown, b"****** \xff ***-ab *** abab", "{size}");
        }
        let none = Redactor::default();
        assert_eq!(none.stream().push(Bytes::from_static(b"abc")), "abc");
        // Output that cannot be the start of a value is not held back.
        let stream = redactor.stream();
        assert_eq!(stream.push(Bytes::from_static(b"x ab ")), "x ab ");
    }

    #[test]
    fn lines_are_redacted_and_not_printed_for_debugging() {
        let mut redactor = Redactor::default();
        redactor.add_lines(["first line\nsecond line\n", "one"]);
        let shared = SharedRedactor::default();
        shared.merge(redactor.clone());
        assert_eq!(shared.text("a second line, one"), "a ***, one");
        assert!(!format!("{redactor:?} {shared:?}").contains("line"));
    }
}
