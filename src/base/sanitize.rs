//! Removes dangerous characters of untrusted text from output. Pure.

use std::borrow::Cow;

/// Returns whether a character changes the text direction, which can make text look like other text.
pub fn is_direction_control(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Returns whether a character is invisible or changes how others are displayed, such as their direction.
pub fn is_format_character(c: char) -> bool {
    matches!(
        c,
        '\u{ad}'
            | '\u{61c}'
            | '\u{200b}'
            | '\u{200e}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{e0000}'..='\u{e007f}'
    )
}

/// Removes control characters and bidirectional controls, because servers may send anything. Newlines and tabs
/// are kept.
pub fn sanitized(text: &str) -> Cow<'_, str> {
    let is_harmful =
        |c: char| is_direction_control(c) || (c.is_control() && c != '\n' && c != '\t');
    if text.contains(is_harmful) {
        Cow::Owned(text.replace(is_harmful, ""))
    } else {
        Cow::Borrowed(text)
    }
}

/// Like [`sanitized`], and without newlines and tabs.
pub fn sanitized_line(text: &str) -> String {
    let is_harmful = |c: char| is_direction_control(c) || c.is_control();
    text.replace(is_harmful, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_removed() {
        let message = "no\x1b[2J\u{9b}1A\r\n\tx\u{202e}y";
        assert_eq!(sanitized(message), "no[2J1A\n\txy");
        assert_eq!(sanitized_line(message), "no[2J1Axy");
    }

    #[test]
    fn a_direction_control_is_a_format_character() {
        let mut all = '\0'..=char::MAX;
        assert!(all.all(|c| !is_direction_control(c) || is_format_character(c)));
    }
}
