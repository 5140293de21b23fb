//! Text tables.

use unicode_width::UnicodeWidthStr as _;

/// Below this width of the terminal, a table omits what it can.
const NARROW: usize = 60;

/// A wrapped cell has at least this width; otherwise it goes below its row.
const MIN_WRAPPED: usize = 20;

/// What a column of a table does if the terminal is too narrow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    /// It keeps its width.
    Fixed,
    /// It is wrapped at spaces.
    Wrapped,
    /// It goes on a line of its own. On a narrow terminal, it is omitted.
    OwnLine,
    /// On a narrow terminal, it is omitted.
    Optional,
}

/// The heading of a column, and how the column is fitted.
pub type Column = (&'static str, Fit);

/// Returns the rows as left-aligned columns, separated by two spaces, without trailing spaces. The first row is the
/// heading.
pub fn aligned(rows: &[Vec<String>]) -> String {
    let widths = widths(rows);
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            pad(&mut line, cell, width + 2);
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Returns a table that fits the terminal's width, if any. Each row has a cell for each column.
pub fn fitted(columns: &[Column], rows: Vec<Vec<String>>, terminal: Option<usize>) -> String {
    let mut fits: Vec<Fit> = columns.iter().map(|(_, fit)| *fit).collect();
    let heading = columns.iter().map(|(name, _)| (*name).to_owned());
    let mut rows: Vec<Vec<String>> = std::iter::once(heading.collect()).chain(rows).collect();
    let Some(terminal) = terminal.filter(|terminal| !is_within(&rows, *terminal)) else {
        return aligned(&rows);
    };
    if terminal < NARROW {
        for omitted in [Fit::OwnLine, Fit::Optional] {
            while !is_within(&rows, terminal)
                && let Some(at) = fits.iter().rposition(|fit| *fit == omitted)
            {
                remove(at, &mut fits, &mut rows);
            }
        }
    }
    let mut below: Vec<String> = vec![String::new(); rows.len()];
    if let Some(at) = fits.iter().rposition(|fit| *fit == Fit::OwnLine) {
        below = remove(at, &mut fits, &mut rows);
        below[0].clear();
    }
    let wrapped = fits.iter().position(|fit| *fit == Fit::Wrapped);
    if let Some(at) = wrapped.filter(|_| !is_within(&rows, terminal)) {
        let others: usize = widths(&rows).iter().map(|width| width + 2).sum();
        let room = (terminal + widths(&rows)[at] + 2).saturating_sub(others);
        if room >= MIN_WRAPPED {
            return joined(&wrapped_at(at, room, rows), &below);
        }
        let cells = remove(at, &mut fits, &mut rows);
        let room = terminal.saturating_sub(2).max(1);
        for (below, cell) in below.iter_mut().zip(cells).skip(1) {
            let mut lines = wrap(&cell, room);
            lines.extend((!below.is_empty()).then(|| std::mem::take(below)));
            *below = lines.join("\n  ");
        }
    }
    let rows = rows.into_iter().map(|row| vec![row]);
    joined(&rows.collect::<Vec<_>>(), &below)
}

/// Like [`aligned`], but if the terminal is too narrow, the last cell of each row goes on its own line.
pub fn with_last_cell_below(mut rows: Vec<Vec<String>>, terminal: Option<usize>) -> String {
    if terminal.is_none_or(|terminal| is_within(&rows, terminal)) {
        return aligned(&rows);
    }
    let below: Vec<String> = rows.iter_mut().filter_map(Vec::pop).collect();
    let rows = rows.into_iter().map(|row| vec![row]);
    joined(&rows.collect::<Vec<_>>(), &below)
}

/// Wraps a text at spaces. A word that is longer than a line is not broken, and neither is a command in backticks, so
/// that it can be copied.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    let mut is_code = false;
    let is_balanced = text.matches('`').count().is_multiple_of(2);
    let words = text.split(|c: char| {
        is_code ^= c == '`' && is_balanced;
        c == ' ' && !is_code
    });
    for word in words {
        if !line.is_empty() && line.width() + 1 + word.width() > width {
            lines.push(std::mem::take(&mut line));
        } else if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines.push(line);
    lines
}

/// Splits each row into lines, so that the cells of a column are at most `room` wide.
fn wrapped_at(at: usize, room: usize, rows: Vec<Vec<String>>) -> Vec<Vec<Vec<String>>> {
    let rows = rows.into_iter().map(|row| {
        let lines = wrap(&row[at], room).into_iter().enumerate();
        let lines = lines.map(|(index, text)| {
            let mut line = if index == 0 {
                row.clone()
            } else {
                vec![String::new(); row.len()]
            };
            line[at] = text;
            line
        });
        lines.collect()
    });
    rows.collect()
}

/// Returns the aligned lines of all rows, each row followed by the text below it.
fn joined(rows: &[Vec<Vec<String>>], below: &[String]) -> String {
    let table = aligned(&rows.concat());
    let mut lines = table.lines();
    let mut text = String::new();
    for (row, below) in rows.iter().zip(below) {
        for line in lines.by_ref().take(row.len()) {
            text.push_str(line);
            text.push('\n');
        }
        if !below.is_empty() {
            text.push_str(&format!("  {below}\n"));
        }
    }
    text
}

/// Removes a column and returns its cells.
fn remove(at: usize, fits: &mut Vec<Fit>, rows: &mut [Vec<String>]) -> Vec<String> {
    fits.remove(at);
    rows.iter_mut().map(|row| row.remove(at)).collect()
}

fn is_within(rows: &[Vec<String>], terminal: usize) -> bool {
    let is_within = |line: &str| line.width() <= terminal;
    aligned(rows).lines().all(is_within)
}

fn widths(rows: &[Vec<String>]) -> Vec<usize> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.width()).max().unwrap_or(0)
    };
    (0..columns).map(width).collect()
}

fn pad(line: &mut String, cell: &str, width: usize) {
    line.push_str(cell);
    let missing = width.saturating_sub(cell.width());
    line.extend(std::iter::repeat_n(' ', missing));
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 5] = [
        ("SERVICE", Fit::Fixed),
        ("COMMIT", Fit::Optional),
        ("RESULT", Fit::Fixed),
        ("WHY", Fit::Wrapped),
        ("IMAGE", Fit::OwnLine),
    ];

    fn table(terminal: Option<usize>) -> String {
        let row = |cells: [&str; 5]| cells.map(str::to_owned).to_vec();
        let rows = vec![
            row([
                "app",
                "12345678",
                "built",
                "new commit",
                "example.com/team/app",
            ]),
            row([
                "database",
                "12345678",
                "FAILED",
                "scripts.build, scripts.test and needs.app changed",
                "example.com/team/database",
            ]),
        ];
        fitted(&COLUMNS, rows, terminal)
    }

    #[test]
    fn cells_are_aligned() {
        let rows = [
            vec!["A".to_owned(), "B".to_owned()],
            vec!["long".to_owned(), "x".to_owned()],
            vec!["構築".to_owned(), "y".to_owned()],
        ];
        assert_eq!(aligned(&rows), "A     B\nlong  x\n構築  y\n");
    }

    #[test]
    fn a_table_that_fits_has_all_columns() {
        let wide = "\
SERVICE   COMMIT    RESULT  WHY                                                IMAGE
app       12345678  built   new commit                                         example.com/team/app
database  12345678  FAILED  scripts.build, scripts.test and needs.app changed  example.com/team/database
";
        assert_eq!(table(None), wide);
        assert_eq!(table(Some(104)), wide);
    }

    #[test]
    fn images_go_on_their_own_lines() {
        let below = "\
SERVICE   COMMIT    RESULT  WHY
app       12345678  built   new commit
  example.com/team/app
database  12345678  FAILED  scripts.build, scripts.test and needs.app changed
  example.com/team/database
";
        assert_eq!(table(Some(103)), below);
        assert_eq!(table(Some(77)), below);
    }

    #[test]
    fn reasons_are_wrapped_at_words() {
        let wrapped = "\
SERVICE   COMMIT    RESULT  WHY
app       12345678  built   new commit
  example.com/team/app
database  12345678  FAILED  scripts.build, scripts.test and
                            needs.app changed
  example.com/team/database
";
        assert_eq!(table(Some(60)), wrapped);
    }

    #[test]
    fn a_narrow_terminal_shows_fewer_columns() {
        let narrow = "\
SERVICE   RESULT  WHY
app       built   new commit
database  FAILED  scripts.build, scripts.test and
                  needs.app changed
";
        assert_eq!(table(Some(55)), narrow);
        let narrower = "\
SERVICE   RESULT
app       built
  new commit
database  FAILED
  scripts.build, scripts.test
  and needs.app changed
";
        assert_eq!(table(Some(30)), narrower);
    }

    #[test]
    fn no_line_is_longer_than_the_terminal() {
        for terminal in 29..110 {
            for line in table(Some(terminal)).lines() {
                assert!(line.width() <= terminal, "{terminal}: {line}");
            }
        }
    }

    #[test]
    fn long_words_are_not_broken() {
        assert_eq!(
            wrap("a example.com/team b", 5),
            ["a", "example.com/team", "b"]
        );
        assert_eq!(wrap("", 5), [""]);
    }
}
