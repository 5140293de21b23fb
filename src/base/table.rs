//! Text tables.

use std::fmt::Write as _;

/// Returns the rows as left-aligned columns, separated by two spaces, without trailing spaces. The first row is the
/// heading.
///
/// Widths are in characters, because names of services and images are ASCII.
pub fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            _ = write!(line, "{cell:<width$}  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Like [`aligned`], but if the terminal is too narrow, the last cell of each row, an image, goes on its own line.
pub fn fitted(mut rows: Vec<Vec<String>>, columns: Option<usize>) -> String {
    let table = aligned(&rows);
    let widest = table.lines().map(|line| line.chars().count()).max();
    if columns.is_none() || widest <= columns {
        return table;
    }
    let images: Vec<String> = rows.iter_mut().filter_map(Vec::pop).collect();
    let table = aligned(&rows);
    let mut lines = table.lines().zip(images);
    let heading = lines.next().map_or("", |(heading, _)| heading);
    let rest = lines.map(|(line, image)| format!("{line}\n  {image}\n"));
    std::iter::once(format!("{heading}\n"))
        .chain(rest)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_aligned() {
        let rows = [
            vec!["A".to_owned(), "B".to_owned()],
            vec!["long".to_owned(), "x".to_owned()],
        ];
        assert_eq!(aligned(&rows), "A     B\nlong  x\n");
    }

    #[test]
    fn a_narrow_terminal_shows_images_on_their_own_lines() {
        let row = |cells: [&str; 6]| cells.map(str::to_owned).to_vec();
        let rows = vec![
            row(["SERVICE", "COMMIT", "RESULT", "TIME", "WHY", "IMAGE"]),
            row([
                "app",
                "12345678",
                "built",
                "1.2s",
                "new",
                "example.com/app:1",
            ]),
        ];
        let wide = "SERVICE  COMMIT    RESULT  TIME  WHY  IMAGE\n\
                    app      12345678  built   1.2s  new  example.com/app:1\n";
        assert_eq!(fitted(rows.clone(), None), wide);
        assert_eq!(fitted(rows.clone(), Some(55)), wide);
        let narrow = "SERVICE  COMMIT    RESULT  TIME  WHY\n\
                      app      12345678  built   1.2s  new\n  example.com/app:1\n";
        assert_eq!(fitted(rows, Some(54)), narrow);
    }
}
