//! Escapes untrusted text, such as commit messages, for output.

use crate::base::sanitize::is_format_character;

/// Returns the text as one line, without control characters and characters that change the text direction.
pub fn plain(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\t' | '\n' | '\r' => ' ',
            c if c.is_control() || is_format_character(c) => '\u{fffd}',
            c => c,
        })
        .collect()
}

/// Like [`plain`], with Markdown and HTML escaped.
///
/// A zero-width space after each `@` prevents mentions: git servers look for names after resolving escapes.
pub fn markdown(text: &str) -> String {
    let mut escaped = String::new();
    for c in plain(text).chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '@' => escaped.push_str("@\u{200b}"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' | '!' | '#' | '$' => {
                escaped.extend(['\\', c]);
            }
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn untrusted_text_is_escaped() {
        assert_eq!(
            plain("a\u{1b}[31m\tb\r\nc\u{9b}\u{202e}ö👍"),
            "a\u{fffd}[31m b  c\u{fffd}\u{fffd}ö👍"
        );
        assert_eq!(
            markdown("<img src=x> `a|b` [x](y) **b** #1 \\ &lt;"),
            "&lt;img src=x&gt; \\`a\\|b\\` \\[x\\](y) \\*\\*b\\*\\* \\#1 \\\\ &amp;lt;"
        );
        assert_eq!(
            markdown("for @x, @@y"),
            "for @\u{200b}x, @\u{200b}@\u{200b}y"
        );
    }
}
