//! Renders a log with ANSI colors as HTML.

use std::iter::Peekable;
use std::str::Chars;

use crate::report::document::escape::escape;
use crate::report::text::skip_escape;

/// Text attributes.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Style {
    /// One of the eight terminal colors.
    color: Option<u8>,
    bold: bool,
    faint: bool,
}

/// Appends a log to a page.
///
/// A line is the text after its last carriage return, as on a terminal. The eight colors, bold and
/// faint are kept; all other escape sequences are removed.
pub fn render(html: &mut String, log: &[u8]) {
    let text = String::from_utf8_lossy(log);
    let mut writer = Writer {
        html,
        next: Style::default(),
        current: Style::default(),
    };
    for line in text.split_inclusive('\n') {
        let (line, end) = match line.strip_suffix('\n') {
            Some(line) => (line, "\n"),
            None => (line, ""),
        };
        let mut parts = line.trim_end_matches('\r').rsplit('\r');
        writer.line(parts.find(|part| !part.is_empty()).unwrap_or(""));
        writer.html.push_str(end);
    }
    writer.next = Style::default();
    writer.change();
}

struct Writer<'a> {
    html: &'a mut String,
    /// The style of the next character.
    next: Style,
    /// The style of the open element.
    current: Style,
}

impl Writer<'_> {
    fn line(&mut self, line: &str) {
        let mut chars = line.chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                '\x1b' if chars.next_if_eq(&'[').is_some() => self.control_sequence(&mut chars),
                '\x1b' => skip_escape(&mut chars),
                '\u{9b}' => self.control_sequence(&mut chars),
                // Bell, backspace and the like.
                c if c.is_control() && c != '\t' && c != '\0' => {}
                c => {
                    self.change();
                    _ = escape(self.html, c);
                }
            }
        }
    }

    fn control_sequence(&mut self, chars: &mut Peekable<Chars<'_>>) {
        let mut parameters = String::new();
        for c in chars.by_ref() {
            match c {
                'm' => return self.set(&parameters),
                '\x40'..='\x7e' => return,
                c => parameters.push(c),
            }
        }
    }

    fn set(&mut self, parameters: &str) {
        let mut codes = parameters
            .split([';', ':'])
            .map(|code| code.parse().unwrap_or(0_u8));
        while let Some(code) = codes.next() {
            match code {
                0 => self.next = Style::default(),
                1 => self.next.bold = true,
                2 => self.next.faint = true,
                22 => (self.next.bold, self.next.faint) = (false, false),
                30..=37 => self.next.color = Some(code - 30),
                90..=97 => self.next.color = Some(code - 90),
                39 => self.next.color = None,
                38 | 48 => {
                    let color = match codes.next() {
                        Some(5) => codes.next(),
                        Some(2) => {
                            _ = codes.nth(2);
                            None
                        }
                        _ => None,
                    };
                    if code == 38 {
                        self.next.color = color.filter(|color| *color < 16).map(|color| color % 8);
                    }
                }
                _ => {}
            }
        }
    }

    /// Closes and opens elements if the style changed.
    fn change(&mut self) {
        if self.next == self.current {
            return;
        }
        if self.current != Style::default() {
            self.html.push_str("</span>");
        }
        self.current = self.next;
        if self.current != Style::default() {
            let color = self.current.color.map(|color| format!("c{color}"));
            let classes = [
                color.as_deref(),
                self.current.bold.then_some("cb"),
                self.current.faint.then_some("cf"),
            ];
            let classes: Vec<&str> = classes.into_iter().flatten().collect();
            self.html
                .push_str(&format!("<span class=\"{}\">", classes.join(" ")));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(log: &[u8]) -> String {
        let mut html = String::new();
        render(&mut html, log);
        html
    }

    #[test]
    fn colors_are_kept_and_closed() {
        assert_eq!(
            rendered(b"a \x1b[1;31mred\x1b[0m b\n"),
            "a <span class=\"c1 cb\">red</span> b\n"
        );
        assert_eq!(
            rendered(b"\x1b[92mopen\nstill"),
            "<span class=\"c2\">open\nstill</span>"
        );
        assert_eq!(rendered(b"\x1b[31m\x1b[32m\x1b[0mx"), "x");
        assert_eq!(rendered(b"\x1b[38;5;4mx"), "<span class=\"c4\">x</span>");
        assert_eq!(
            rendered(b"\x1b[38;2;1;2;3;1mx"),
            "<span class=\"cb\">x</span>"
        );
        assert_eq!(rendered(b"\x1b[48;5;1mx"), "x");
    }

    #[test]
    fn other_sequences_are_removed() {
        assert_eq!(rendered(b"</pre><script>"), "&lt;/pre&gt;&lt;script&gt;");
        assert_eq!(rendered(b"10%\r50%\r100%\r\nx"), "100%\nx");
        assert_eq!(rendered(b"\x1b]0;title\x07a\x1b[2Jb\x08\x1b("), "ab");
        assert_eq!(
            rendered(b"a\0\xff\xe2\x80\xae"),
            "a\u{fffd}\u{fffd}\u{fffd}"
        );
        assert_eq!(rendered(b"\x1b[31"), "");
        assert_eq!(rendered(b""), "");
    }
}
