//! Words and quotes of a Dockerfile.

/// Splits off the first word, which ends at a space outside of quotes.
pub(super) fn split_word(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    let mut quote = None;
    let end = text.find(|c: char| {
        match quote {
            Some(open) if c == open => quote = None,
            None if matches!(c, '"' | '\'') => quote = Some(c),
            _ => {}
        }
        quote.is_none() && c.is_whitespace()
    });
    text.split_at(end.unwrap_or(text.len()))
}

/// Splits a text into words as written.
pub(super) fn words(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (word, after) = split_word(rest);
        rest = after;
        (!word.is_empty()).then_some(word)
    })
}

/// Returns a word without quotes.
pub(super) fn unquoted(word: &str) -> String {
    let mut quote = None;
    let is_part = |c: &char| match quote {
        Some(open) if *c == open => {
            quote = None;
            false
        }
        None if matches!(c, '"' | '\'') => {
            quote = Some(*c);
            false
        }
        _ => true,
    };
    word.chars().filter(is_part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_end_outside_of_quotes() {
        let text = " a  \"b c\"='d \"' \"e";
        let found: Vec<&str> = words(text).collect();
        assert_eq!(found, ["a", "\"b c\"='d \"'", "\"e"]);
        assert_eq!(unquoted(found[1]), "b c=d \"");
    }
}
