//! A log with its colours, as HTML.

use std::iter::Peekable;
use std::str::Chars;

use crate::report::document::escape::escape;
use crate::report::text::skip_escape;

/// How text is shown.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Style {
    /// One of the eight colours of a terminal.
    color: Option<u8>,
    bold: bool,
    faint: bool,
}

/// Adds a log to a page.
///
/// A line is the text after its last carriage return, as on a terminal. The eight colours and bold and
/// faint text are kept; all other escape sequences are taken out.
pub fn render(html: &mut String, log: &[u8]) {
    let text = String::from_utf8_lossy(log);
    let mut writer = Writer {
        html,
        wanted: Style::default(),
        shown: Style::default(),
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
    writer.wanted = Style::default();
    writer.change();
}

struct Writer<'a> {
    html: &'a mut String,
    /// The style of what comes next.
    wanted: Style,
    /// The style of the element that is open.
    shown: Style,
}

impl Writer<'_> {
    fn line(&mut self, line: &str) {
        let mut chars = line.chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                '\x1b' if chars.next_if_eq(&'[').is_some() => self.control_sequence(&mut chars),
                '\x1b' => skip_escape(&mut chars),
                '\u{9b}' => self.control_sequence(&mut chars),
                // A bell, a backspace: nothing that a page shows.
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
                0 => self.wanted = Style::default(),
                1 => self.wanted.bold = true,
                2 => self.wanted.faint = true,
                22 => (self.wanted.bold, self.wanted.faint) = (false, false),
                30..=37 => self.wanted.color = Some(code - 30),
                90..=97 => self.wanted.color = Some(code - 90),
                39 => self.wanted.color = None,
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
                        self.wanted.color = color.filter(|color| *color < 16).map(|it| it % 8);
                    }
                }
                _ => {}
            }
        }
    }

    /// Opens and closes elements, when there is text to show.
    fn change(&mut self) {
        if self.wanted == self.shown {
            return;
        }
        if self.shown != Style::default() {
            self.html.push_str("</span>");
        }
        self.shown = self.wanted;
        if self.shown != Style::default() {
            let color = self.shown.color.map(|color| format!("c{color}"));
            let classes = [
                color.as_deref(),
                self.shown.bold.then_some("cb"),
                self.shown.faint.then_some("cf"),
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
    fn colours_are_kept_and_closed() {
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
    fn nothing_else_gets_through() {
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
