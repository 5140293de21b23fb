//! Positions in the manifest's text.

/// A byte range of the manifest's text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Span {
    pub start: usize,
    pub end: usize,
}

impl Span {
    pub fn new(start: usize, end: usize) -> Self {
        Self { start, end }
    }

    /// Returns whether it contains another range.
    pub fn contains(self, other: Self) -> bool {
        self.start <= other.start && other.end <= self.end
    }

    /// Truncates the range to its first line, so that only one line is underlined.
    pub fn first_line(self, text: &str) -> Self {
        let covered = text.get(self.start..self.end).unwrap_or("");
        let line = covered.lines().next().unwrap_or("");
        Self::new(self.start, self.start + line.trim_end().len())
    }

    /// Returns the 1-based line and column in characters.
    pub fn line_and_column(self, text: &str) -> (usize, usize) {
        let before = text.get(..self.start).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        (line, before[line_start..].chars().count() + 1)
    }
}

/// The line ends of a text, so that looking up many line numbers does not count lines each time.
pub(crate) struct LineIndex {
    ends: Vec<usize>,
}

impl LineIndex {
    pub fn new(text: &str) -> Self {
        let ends = text.match_indices('\n').map(|(end, _)| end);
        Self {
            ends: ends.collect(),
        }
    }

    /// Returns the 1-based line where a range starts.
    pub fn of(&self, span: Span) -> usize {
        self.ends.partition_point(|end| *end < span.start) + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_index_agrees_with_line_and_column() {
        for text in ["", "a", "\n", "ä\n\nb\r\nc", "a\nb\n"] {
            let lines = LineIndex::new(text);
            for (start, _) in text.char_indices().chain([(text.len(), ' ')]) {
                let span = Span::new(start, start);
                assert_eq!(
                    lines.of(span),
                    span.line_and_column(text).0,
                    "{text:?} {start}"
                );
            }
        }
    }
}
