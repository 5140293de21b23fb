//! Texts that somebody else wrote, made harmless for where they are shown.

/// Returns a text in one line that moves no cursor, colours nothing and turns no text around.
pub(super) fn plain(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\t' | '\n' | '\r' => ' ',
            c if c.is_control() || is_format_character(c) => '\u{fffd}',
            c => c,
        })
        .collect()
}

/// Tells whether a character changes how others are shown: directions, and what is not seen at all.
fn is_format_character(c: char) -> bool {
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

/// Returns a text as [`plain`] does, with what Markdown, or HTML in it, would take for its own escaped.
///
/// No one is called by an `@`: git servers look for names once the escapes are gone, so a space without
/// width parts the two.
pub(super) fn markdown(text: &str) -> String {
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
    fn what_others_wrote_is_harmless() {
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
