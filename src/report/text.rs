//! Cleans, truncates and formats text for a terminal.

use anstyle_parse::{Parser, Perform, Utf8Parser};
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use crate::base::sanitize::is_direction_control;
use crate::model::doctor::Severity;

/// Longer lines are truncated; the log file has the full text.
const MAX_LINE: usize = 4096;

/// Splits a stream of bytes into displayable lines.
///
/// A line is the text after the last carriage return, as on a terminal; escape sequences and control characters are
/// removed, invalid UTF-8 is replaced, and long lines are truncated.
#[derive(Debug, Default)]
pub struct LineSplitter {
    rest: Vec<u8>,
    /// Whether the rest of an overlong line is being dropped.
    dropping: bool,
}

impl LineSplitter {
    /// Appends bytes and returns the completed lines.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (content, ends) = match part.strip_suffix(b"\n") {
                Some(content) => (content, true),
                None => (part, false),
            };
            let content = self.without_overwritten(content);
            if !self.dropping {
                let room = MAX_LINE.saturating_sub(self.rest.len());
                self.rest
                    .extend_from_slice(&content[..content.len().min(room)]);
                self.dropping = content.len() > room;
            }
            if ends {
                lines.push(self.flush().unwrap_or_default());
            }
        }
        lines
    }

    /// Drops overwritten text, so that a progress bar does not fill the buffer.
    fn without_overwritten<'a>(&mut self, content: &'a [u8]) -> &'a [u8] {
        let written = content.strip_suffix(b"\r").unwrap_or(content);
        let last = written.iter().rposition(|byte| *byte == b'\r');
        let overwrites = self.rest.last() == Some(&b'\r') && !written.is_empty();
        if overwrites || last.is_some() {
            *self = Self::default();
        }
        &content[last.map_or(0, |at| at + 1)..]
    }

    /// Returns the current incomplete line, if it has any text.
    pub fn unfinished(&self) -> Option<String> {
        Some(clean(&self.rest)).filter(|line| !line.trim().is_empty())
    }

    /// Takes the current incomplete line.
    pub fn flush(&mut self) -> Option<String> {
        if self.rest.is_empty() && !self.dropping {
            return None;
        }
        let mut line = clean(&self.rest);
        if std::mem::take(&mut self.dropping) {
            line.push_str(" …");
        }
        self.rest.clear();
        Some(line)
    }
}

/// Returns the width of a text in terminal columns: two for wide characters, none for combining ones.
pub fn width(text: &str) -> usize {
    text.width()
}

/// Returns a text truncated to at most `columns`, ending in `…` if it was longer.
pub fn shortened(text: &str, columns: usize) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    let mut kept = String::new();
    let mut room = columns.saturating_sub(1);
    for c in text.chars() {
        let width = c.width().unwrap_or(0);
        if width > room {
            break;
        }
        room -= width;
        kept.push(c);
    }
    if columns > 0 {
        kept.push('…');
    }
    kept
}

/// Returns a text truncated or padded to exactly `columns`.
pub fn padded(text: &str, columns: usize) -> String {
    let mut padded = shortened(text, columns);
    let missing = columns.saturating_sub(padded.width());
    padded.extend(std::iter::repeat_n(' ', missing));
    padded
}

/// Returns the first line of a text, followed by ` …` if there are more.
pub fn first_line(text: &str) -> String {
    let mut lines = text.lines();
    let first = clean(lines.next().unwrap_or_default().as_bytes());
    match lines.next() {
        Some(_) => format!("{first} …"),
        None => first,
    }
}

/// Returns the last `count` lines, and an unfinished line after them.
pub fn last_lines(bytes: &[u8], count: usize) -> &[u8] {
    let ends = bytes.iter().enumerate().rev();
    let mut ends = ends.filter(|(_, byte)| **byte == b'\n');
    match ends.nth(count) {
        Some((end, _)) => &bytes[end + 1..],
        None => bytes,
    }
}

/// Returns a line as a terminal would show it, without colors.
pub fn clean(line: &[u8]) -> String {
    let mut shown = Shown(String::with_capacity(line.len()));
    parse_line(line, &mut shown);
    shown.0
}

struct Shown(String);

impl Perform for Shown {
    fn print(&mut self, c: char) {
        // Bidirectional controls can make text look like other text.
        if !is_direction_control(c) && !c.is_control() {
            self.0.push(c);
        }
    }

    fn execute(&mut self, byte: u8) {
        if byte == b'\t' {
            self.0.push_str("    ");
        }
    }
}

/// Parses the visible part of a line into characters and escape sequences; an incomplete sequence ends with it.
pub fn parse_line(line: &[u8], performer: &mut impl Perform) {
    let text = String::from_utf8_lossy(line);
    let text = text.trim_end_matches(['\r', '\n']);
    // A progress bar overwrites its line: keep the last version.
    let mut versions = text.rsplit('\r');
    let last = versions.find(|part| !part.is_empty()).unwrap_or("");
    let mut parser = Parser::<Utf8Parser>::new();
    // The one-character form of `ESC [` is two bytes in UTF-8.
    for byte in last.replace('\u{9b}', "\x1b[").bytes() {
        parser.advance(performer, byte);
    }
}

/// Returns a message with the prefix of each line (`error:`, `warning:`, `hint:`) colored, if `color` is
/// set.
pub fn paint(message: &str, color: bool) -> String {
    if !color {
        return message.to_owned();
    }
    let painted = message.split('\n').map(|line| {
        for (word, code) in [("error:", "1;31"), ("warning:", "1;33"), ("hint:", "1;36")] {
            if let Some(rest) = line.strip_prefix(word) {
                return format!("\x1b[{code}m{word}\x1b[0m{rest}");
            }
        }
        line.to_owned()
    });
    painted.collect::<Vec<_>>().join("\n")
}

/// Returns a word in the color of a severity; without a severity, in the color of a fix.
pub fn severity_painted(word: &str, severity: Option<Severity>, color: bool) -> String {
    let code = match severity {
        Some(Severity::Ok) => "1;32",
        Some(Severity::Note) => "1;34",
        Some(Severity::Warning) => "1;33",
        Some(Severity::Error) => "1;31",
        None => "1;36",
    };
    if color {
        format!("\x1b[{code}m{word}\x1b[0m")
    } else {
        word.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_split_at_line_ends() {
        let mut splitter = LineSplitter::default();
        assert_eq!(splitter.push(b"a\nb"), ["a"]);
        assert_eq!(splitter.push(b"c\n\nd"), ["bc", ""]);
        assert_eq!(splitter.flush().as_deref(), Some("d"));
        assert_eq!(splitter.flush(), None);
    }

    #[test]
    fn long_lines_are_truncated_and_memory_is_bounded() {
        let mut splitter = LineSplitter::default();
        for _ in 0..100 {
            assert!(splitter.push(&[b'x'; 10_000]).is_empty());
            assert!(splitter.rest.len() <= MAX_LINE);
        }
        let lines = splitter.push(b"\nnext\n");
        assert_eq!(lines.len(), 2);
        assert!(lines[0].ends_with(" …") && lines[0].len() < MAX_LINE + 10);
        assert_eq!(lines[1], "next");
    }

    #[test]
    fn a_progress_bar_is_shown_before_its_line_ends() {
        let mut splitter = LineSplitter::default();
        for percent in 0..=100 {
            assert!(splitter.push(b"loading ....................\r").is_empty());
            splitter.push(format!("{percent}%").as_bytes());
            assert!(splitter.rest.len() < 100);
            assert_eq!(splitter.unfinished(), Some(format!("{percent}%")));
        }
        assert_eq!(splitter.push(b"\r\n"), ["100%"]);
        assert_eq!(splitter.unfinished(), None);
    }

    #[test]
    fn a_shortened_text_ends_with_an_ellipsis() {
        assert_eq!(shortened("zbäckend", 8), "zbäckend");
        assert_eq!(shortened("zbäckend", 4), "zbä…");
        assert_eq!(shortened("zbackend", 0), "");
    }

    #[test]
    fn widths_are_columns_not_characters() {
        assert_eq!(width("構築"), 4);
        // The second half of a wide character does not fit.
        assert_eq!(shortened("構築する", 6), "構築…");
        assert_eq!(shortened("構築する", 4), "構…");
        assert_eq!(padded("構築する", 4), "構… ");
        assert_eq!(shortened("e\u{301}e\u{301}e", 3), "e\u{301}e\u{301}e");
        assert_eq!(padded("e\u{301}", 3), "e\u{301}  ");
    }

    #[test]
    fn last_lines_are_found_from_the_end() {
        assert_eq!(last_lines(b"a\nb\nc\n", 2), b"b\nc\n");
        assert_eq!(last_lines(b"a\nb\nc", 1), b"b\nc");
        assert_eq!(last_lines(b"a\n", 2), b"a\n");
        assert_eq!(last_lines(b"", 2), b"");
    }

    #[test]
    fn escape_sequences_and_control_characters_are_removed() {
        assert_eq!(clean(b"\x1b[31mred\x1b[0m"), "red");
        assert_eq!(clean(b"\x1b]0;title\x07x\x1b]8;;http://a\x1b\\y"), "xy");
        assert_eq!(clean(b"10%\r50%\r100%\r"), "100%");
        assert_eq!(clean(b"a\x00\x08b\x7f"), "ab");
        assert_eq!(clean("a\u{202e}b".as_bytes()), "ab");
        assert_eq!(clean(b"\xff\xfe ok"), "\u{fffd}\u{fffd} ok");
        assert_eq!(clean(b"\x1b(Bx"), "x");
        assert_eq!(clean(b"\x1b["), "");
    }

    #[test]
    fn only_prefixes_of_lines_are_painted() {
        let text = "error: no error: x\nhint: y\n  hint: z\n";
        assert_eq!(
            paint(text, true),
            "\x1b[1;31merror:\x1b[0m no error: x\n\x1b[1;36mhint:\x1b[0m y\n  hint: z\n"
        );
        assert_eq!(paint(text, false), text);
    }
}
