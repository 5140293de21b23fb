//! Text from outside within HTML and XML.

use std::fmt;

/// Shows a text in HTML or XML, in an element or between the double quotes of an attribute.
///
/// What would be markup is escaped, and characters are replaced that XML forbids, that reorder text, or
/// that no page should hold.
pub struct Escaped<'a>(pub &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| escape(f, c))
    }
}

/// Shows a text on one line, as in an attribute.
pub struct OnOneLine<'a>(pub &'a str);

impl fmt::Display for OnOneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            '\n' => f.write_str("&#10;"),
            c => escape(f, c),
        })
    }
}

/// Writes one character.
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

/// Adds to a page or document.
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
    fn nothing_is_markup_and_nothing_is_forbidden() {
        assert_eq!(
            escaped("</script><b a=\"x\">&\n"),
            "&lt;/script&gt;&lt;b a=&quot;x&quot;&gt;&amp;\n"
        );
        assert_eq!(escaped("a\0\x1b\x7f\u{85}b"), "a����b");
        assert_eq!(escaped("\u{202e}\u{2066}\u{ffff}é😀"), "���é😀");
        assert_eq!(OnOneLine("a\n\"").to_string(), "a&#10;&quot;");
    }
}
