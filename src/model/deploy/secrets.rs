//! Redacts the values of rendered Kubernetes secrets in output.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::rendered::RenderedObjects;

/// The replacement for a secret.
const HIDDEN: &str = "***";

/// Shorter values are not redacted, because they occur in too many messages.
const SHORTEST: usize = 4;

/// The values of secrets.
#[derive(Clone, Default)]
pub struct Secrets {
    /// Longest first, so that no part of a longer one remains.
    values: Vec<String>,
}

impl Secrets {
    /// Adds values and each of their lines, because a program may quote a single line.
    pub fn add<'t>(&mut self, values: impl IntoIterator<Item = &'t str>) {
        for value in values {
            let lines = value.lines().map(str::trim);
            for text in lines.chain([value.trim()]) {
                if text.len() >= SHORTEST && !self.values.iter().any(|it| it == text) {
                    self.values.push(text.to_owned());
                }
            }
        }
        self.values
            .sort_by_key(|text| std::cmp::Reverse(text.len()));
    }

    /// Adds the values of another.
    pub fn merge(&mut self, other: Self) {
        self.add(other.values.iter().map(String::as_str));
    }

    /// Adds the rendered secrets, both encoded and decoded.
    pub fn add_rendered(&mut self, rendered: &RenderedObjects) {
        self.add(rendered.texts("Secret", "stringData"));
        for encoded in rendered.texts("Secret", "data") {
            self.add([encoded]);
            let compact: String = encoded.split_whitespace().collect();
            if let Ok(bytes) = BASE64_STANDARD.decode(compact)
                && let Ok(text) = String::from_utf8(bytes)
            {
                self.add([text.as_str()]);
            }
        }
        for text in rendered.texts("Secret", "stringData") {
            let encoded = BASE64_STANDARD.encode(text);
            self.add([encoded.as_str()]);
        }
    }

    /// Returns the text with all values redacted.
    pub fn hidden(&self, text: &str) -> String {
        let values = self.values.iter();
        values.fold(text.to_owned(), |text, value| {
            if text.contains(value.as_str()) {
                text.replace(value.as_str(), HIDDEN)
            } else {
                text
            }
        })
    }
}

// Must not print values.
impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} values", self.values.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_hidden_in_each_form() {
        let rendered = RenderedObjects::read(
            "kind: Secret\ndata: {a: aHVudGVyMg==, b: b25l, n: eA==}\nstringData: {c: \"first line\\nsecond line\\n\"}\n",
        )
        .unwrap();
        let mut secrets = Secrets::default();
        secrets.add_rendered(&rendered);
        assert_eq!(
            secrets.hidden("bad value \"aHVudGVyMg==\", hunter2x, second line, one, x"),
            "bad value \"***\", ***x, ***, one, x"
        );
        assert!(!format!("{secrets:?}").contains("hunter2"));
    }
}
