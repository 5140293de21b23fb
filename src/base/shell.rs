//! Quoting for POSIX shells.

use std::borrow::Cow;

/// Quotes a word for a shell, if it needs quotes.
pub fn quoted(word: &str) -> Cow<'_, str> {
    let is_plain = |c: char| {
        c.is_ascii_alphanumeric()
            || matches!(c, '_' | '-' | '.' | '/' | ':' | '=' | ',' | '@' | '+' | '%')
    };
    if !word.is_empty() && word.chars().all(is_plain) {
        Cow::Borrowed(word)
    } else {
        Cow::Owned(format!("'{}'", word.replace('\'', r"'\''")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_only_if_necessary() {
        assert_eq!(quoted("origin/main"), "origin/main");
        assert_eq!(quoted("z*"), "'z*'");
        assert_eq!(quoted(""), "''");
        assert_eq!(quoted("it's $HOME"), r"'it'\''s $HOME'");
    }
}
