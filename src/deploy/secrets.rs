//! What must not be told: the values of secrets that were rendered.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::rendered::Rendered;

/// What takes the place of a secret.
const HIDDEN: &str = "***";

/// Shorter texts are no secrets, and stand in too many messages.
const SHORTEST: usize = 4;

/// The values of secrets.
#[derive(Clone, Default)]
pub struct Secrets {
    /// The longest first, so that no part of one is left.
    values: Vec<String>,
}

impl Secrets {
    /// Adds values, and their lines: a program may quote one alone.
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

    /// Adds those of another.
    pub fn merge(&mut self, other: Self) {
        self.add(other.values.iter().map(String::as_str));
    }

    /// Adds the secrets that were rendered, as they are written there and as they are meant.
    pub fn add_rendered(&mut self, rendered: &Rendered) {
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

    /// Returns a text without them.
    pub fn hidden(&self, text: &str) -> String {
        let values = self.values.iter();
        values.fold(text.to_owned(), |text, value| {
            match text.contains(value.as_str()) {
                true => text.replace(value.as_str(), HIDDEN),
                false => text,
            }
        })
    }
}

// A value is shown by no `{:?}`.
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
        let rendered = Rendered::read(
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
