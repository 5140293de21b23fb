//! Escaping of text in HTML and XML.

use std::fmt;

/// Escapes a text for HTML or XML: for an element, or a double-quoted attribute.
///
/// Markup is escaped. Control characters, characters that XML forbids and bidirectional controls are
/// replaced.
pub struct Escaped<'a>(pub &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| escape(f, c))
    }
}

/// Like [`Escaped`], with newlines as character references, for attributes.
pub struct OnOneLine<'a>(pub &'a str);

impl fmt::Display for OnOneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            '\n' => f.write_str("&#10;"),
            c => escape(f, c),
        })
    }
}

/// Writes one escaped character.
pub fn escape(to: &mut impl fmt::Write, c: char) -> fmt::Result {
    match c {
        '&' => to.write_str("&amp;"),
        '<' => to.write_str("&lt;"),
        '>' => to.write_str("&gt;"),
        '"' => to.write_str("&quot;"),
        '\n' | '\t' => to.write_char(c),
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{fffe}' | '\u{ffff}' => {
            to.write_char('\u{fffd}')
        }
        c if c.is_control() => to.write_char('\u{fffd}'),
        c => to.write_char(c),
    }
}

/// Appends formatted text to a string.
macro_rules! put {
    ($to:expr, $($text:tt)*) => {
        // Writing to a string cannot fail.
        _ = std::fmt::Write::write_fmt($to, format_args!($($text)*))
    };
}
pub(super) use put;

#[cfg(test)]
mod tests {
    use super::*;

    fn escaped(text: &str) -> String {
        Escaped(text).to_string()
    }

    #[test]
    fn markup_is_escaped_and_forbidden_characters_are_replaced() {
        assert_eq!(
            escaped("</script><b a=\"x\">&\n"),
            "&lt;/script&gt;&lt;b a=&quot;x&quot;&gt;&amp;\n"
        );
        assert_eq!(escaped("a\0\x1b\x7f\u{85}b"), "a����b");
        assert_eq!(escaped("\u{202e}\u{2066}\u{ffff}é😀"), "���é😀");
        assert_eq!(OnOneLine("a\n\"").to_string(), "a&#10;&quot;");
    }
}
