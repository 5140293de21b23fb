//! Renders a log with ANSI colors as HTML.

use anstyle_parse::{Params, Perform};
use maud::{Markup, PreEscaped, Render as _, html};

use crate::report::text::parse_line;

/// Text attributes.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct TextStyle {
    /// One of the eight terminal colors.
    color: Option<u16>,
    bold: bool,
    faint: bool,
}

/// Returns a log as HTML.
///
/// A line is the text after its last carriage return, as on a terminal. The eight colors, bold and
/// faint are kept; all other escape sequences are removed.
pub fn render(log: &[u8]) -> Markup {
    let mut writer = Writer::default();
    for line in log.split_inclusive(|byte| *byte == b'\n') {
        parse_line(line, &mut writer);
        if line.ends_with(b"\n") {
            writer.run.push('\n');
        }
    }
    writer.end_run();
    PreEscaped(writer.html)
}

#[derive(Default)]
struct Writer {
    html: String,
    /// Text in the current style.
    run: String,
    current: TextStyle,
    /// The style of the next character.
    next: TextStyle,
}

impl Perform for Writer {
    fn print(&mut self, c: char) {
        if c.is_control() && c != '\t' {
            return;
        }
        if self.next != self.current {
            self.end_run();
            self.current = self.next;
        }
        self.run.push(c);
    }

    fn execute(&mut self, byte: u8) {
        match byte {
            b'\t' => self.print('\t'),
            b'\0' => self.print('\u{fffd}'),
            _ => {}
        }
    }

    fn csi_dispatch(&mut self, codes: &Params, intermediates: &[u8], _: bool, action: u8) {
        if action != b'm' || !intermediates.is_empty() {
            return;
        }
        let mut codes = codes.iter().flatten().copied();
        while let Some(code) = codes.next() {
            match code {
                0 => self.next = TextStyle::default(),
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
}

impl Writer {
    fn end_run(&mut self) {
        let text = std::mem::take(&mut self.run);
        let color = self.current.color.map(|color| format!("c{color}"));
        let classes = [
            color.as_deref(),
            self.current.bold.then_some("cb"),
            self.current.faint.then_some("cf"),
        ];
        let classes: Vec<&str> = classes.into_iter().flatten().collect();
        let markup = html! {
            @if classes.is_empty() {
                (text)
            } @else {
                span class=(classes.join(" ")) { (text) }
            }
        };
        markup.render_to(&mut self.html);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::document::escape::Visible;

    fn rendered(log: &[u8]) -> String {
        Visible(render(log)).render().into_string()
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
