//! Rows at the bottom of a terminal that are redrawn in place.
//!
//! Each update is one write, as a synchronized update for terminals that support it. Rows are overwritten
//! rather than erased first, to avoid flicker; unchanged rows are not written.

use std::fmt::Write as _;
use std::io::Write as _;

use crate::report::terminal::size::{Size, size};
use crate::report::text::width;

/// Flush the lines above the rows beyond this many bytes.
const MAX_BUFFERED: usize = 64 * 1024;

/// Synchronized update; other terminals ignore it.
const BEGIN: &str = "\x1b[?2026h";
const END: &str = "\x1b[?2026l";
/// Disable wrapping, so that a row is cut if the terminal's idea of a character's width differs from
/// Unicode's.
const NO_WRAP: &str = "\x1b[?7l";
const WRAP: &str = "\x1b[?7h";
const ERASE_TO_END_OF_ROW: &str = "\x1b[K";
const ERASE_ROW: &str = "\x1b[2K";
const DOWN: &str = "\x1b[1B";

/// The rows, and buffered lines to print above them.
#[derive(Debug, Default)]
pub struct Screen {
    rows: Vec<String>,
    /// The width of the terminal when they were drawn.
    columns: usize,
    above: String,
}

impl Screen {
    /// Prints a line above the rows with the next update, or now if the buffer is full.
    pub fn print(&mut self, line: &str) {
        self.above.push_str(line);
        self.above.push_str("\r\n");
        if self.above.len() > MAX_BUFFERED {
            let rows = self.rows.clone();
            self.draw(size(std::io::stderr()), rows);
        }
    }

    /// Replaces the rows. None may be wider than the terminal.
    pub fn draw(&mut self, size: Size, rows: Vec<String>) {
        let change = self.change(size, rows);
        if !change.is_empty() {
            // A closed terminal must not stop the work.
            _ = std::io::stderr().lock().write_all(change.as_bytes());
        }
    }

    /// Forgets the rows, because something else was written below them.
    pub fn forget(&mut self) {
        self.rows.clear();
    }

    /// Returns the bytes that update the terminal to these rows.
    fn change(&mut self, size: Size, rows: Vec<String>) -> String {
        let resized = self.columns != size.columns && !self.rows.is_empty();
        if self.above.is_empty() && self.rows == rows && !resized {
            return String::new();
        }
        let mut change = BEGIN.to_owned();
        let above_cursor = self.rows_above_cursor(size);
        up(&mut change, above_cursor);
        change.push('\r');
        if resized || !self.above.is_empty() || rows.len() < self.rows.len() {
            // Row by row: terminals save the screen to the scrollback when it is erased from the top.
            for number in 0..=above_cursor {
                change.push_str(if number > 0 { DOWN } else { "" });
                change.push_str(ERASE_ROW);
            }
            up(&mut change, above_cursor);
        }
        change.push_str(&std::mem::take(&mut self.above));
        change.push_str(NO_WRAP);
        for (number, row) in rows.iter().enumerate() {
            if number > 0 {
                change.push_str("\r\n");
            }
            change.push_str(row);
            change.push_str(ERASE_TO_END_OF_ROW);
        }
        change.push_str(WRAP);
        change.push_str(END);
        (self.rows, self.columns) = (rows, size.columns);
        change
    }

    /// Returns the distance from the first row to the cursor, which is at the end of the last one.
    ///
    /// A terminal that became narrower has wrapped wide rows.
    fn rows_above_cursor(&self, size: Size) -> usize {
        let height = |row: &String| visible_width(row).div_ceil(size.columns.max(1)).max(1);
        let rows: usize = self.rows.iter().map(height).sum();
        rows.saturating_sub(1).min(size.rows.saturating_sub(1))
    }
}

fn up(change: &mut String, rows: usize) {
    if rows > 0 {
        _ = write!(change, "\x1b[{rows}A");
    }
}

/// Returns the width of a row, without its color codes.
fn visible_width(row: &str) -> usize {
    let mut parts = row.split("\x1b[");
    let first = parts.next().map_or(0, width);
    let after_color = |part: &str| part.split_once('m').map_or(0, |(_, text)| width(text));
    first + parts.map(after_color).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: Size = Size {
        columns: 20,
        rows: 5,
    };

    struct Shown {
        screen: Screen,
        terminal: vt100::Parser,
    }

    impl Shown {
        fn new() -> Self {
            let terminal = vt100::Parser::new(SIZE.rows as u16, SIZE.columns as u16, 0);
            let mut shown = Self {
                screen: Screen::default(),
                terminal,
            };
            shown.terminal.process(b"$ xp build\r\n");
            shown
        }

        fn draw(&mut self, rows: &[&str]) -> String {
            let rows = rows.iter().map(|row| (*row).to_owned()).collect();
            let change = self.screen.change(SIZE, rows);
            self.terminal.process(change.as_bytes());
            self.terminal.screen().contents()
        }
    }

    #[test]
    fn rows_are_replaced() {
        let mut shown = Shown::new();
        assert_eq!(shown.draw(&["one", "two"]), "$ xp build\none\ntwo");
        assert_eq!(shown.draw(&["1", "2"]), "$ xp build\n1\n2");
        assert_eq!(shown.draw(&["1", "2", "3"]), "$ xp build\n1\n2\n3");
        assert_eq!(shown.draw(&["3"]), "$ xp build\n3");
        assert_eq!(shown.draw(&[]), "$ xp build");
        // The next output starts where the rows started.
        assert_eq!(shown.terminal.screen().cursor_position(), (1, 0));
    }

    #[test]
    fn unchanged_rows_write_nothing() {
        let mut shown = Shown::new();
        shown.draw(&["one"]);
        assert_eq!(shown.screen.change(SIZE, vec!["one".to_owned()]), "");
        shown.draw(&[]);
        assert_eq!(shown.screen.change(SIZE, Vec::new()), "");
    }

    #[test]
    fn lines_scroll_away_above_the_rows() {
        let mut shown = Shown::new();
        shown.draw(&["one", "two"]);
        shown
            .screen
            .print("done, and this line is longer than a row");
        assert_eq!(
            shown.draw(&["two"]),
            "$ xp build\ndone, and this line is longer than a row\ntwo"
        );
        for number in 0..10 {
            shown.screen.print(&number.to_string());
        }
        assert_eq!(shown.draw(&["one", "two"]), "7\n8\n9\none\ntwo");
    }

    #[test]
    fn rows_wrapped_by_a_narrower_terminal_are_erased() {
        let mut screen = Screen::default();
        screen.change(SIZE, vec!["\x1b[36m⠋\x1b[0m 78901234567890".to_owned(); 2]);
        let narrow = Size {
            columns: 10,
            rows: 5,
        };
        // Each of them takes two rows now.
        let change = screen.change(narrow, vec!["new".to_owned()]);
        assert_eq!(change.matches(ERASE_ROW).count(), 4, "{change:?}");
        assert!(
            change.starts_with("\x1b[?2026h\x1b[3A\r\x1b[2K"),
            "{change:?}"
        );
        // The cursor cannot move above the first row.
        let mut screen = Screen::default();
        screen.change(SIZE, vec!["12345678901234567890".to_owned(); 4]);
        let change = screen.change(narrow, vec!["new".to_owned()]);
        assert!(change.contains("\x1b[4A"), "{change:?}");
    }
}
