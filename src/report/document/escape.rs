//! Text of a run in HTML and XML: escaped, and without invisible characters.

use std::fmt;

use maud::Render;

use crate::base::sanitize::is_direction_control;

/// HTML without control characters and bidirectional controls, which could make text look like other text.
pub struct Visible<T>(pub T);

impl<T: Render> Render for Visible<T> {
    fn render_to(&self, html: &mut String) {
        html.extend(self.0.render().into_string().chars().map(visible));
    }
}

/// Escapes a text for XML: for an element, or a double-quoted attribute.
///
/// Control characters, characters that XML forbids and bidirectional controls are replaced.
pub struct Escaped<'a>(pub &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&Visible(self.0).render().into_string())
    }
}

/// Like [`Escaped`], with newlines as character references, for attributes.
pub struct OnOneLine<'a>(pub &'a str);

impl fmt::Display for OnOneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&Escaped(self.0).to_string().replace('\n', "&#10;"))
    }
}

fn visible(c: char) -> char {
    match c {
        '\n' | '\t' => c,
        '\u{fffe}' | '\u{ffff}' => '\u{fffd}',
        c if c.is_control() || is_direction_control(c) => '\u{fffd}',
        c => c,
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
