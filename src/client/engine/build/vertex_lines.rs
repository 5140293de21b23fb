//! The output of the steps of a BuildKit build, which run in parallel, as whole lines.

use std::collections::HashMap;

use bytes::Bytes;

/// A longer line is broken, so that output without line breaks needs little memory.
const LONGEST_LINE: usize = 256 * 1024;

/// Buffers the output of each vertex until its line is complete.
#[derive(Default)]
pub(super) struct VertexLines {
    /// The incomplete line of each vertex, by digest.
    incomplete: HashMap<String, Vec<u8>>,
}

impl VertexLines {
    /// Adds output of a vertex and returns what can be written.
    pub fn push(&mut self, vertex: &str, bytes: &[u8]) -> Option<Bytes> {
        let buffer = match self.incomplete.get_mut(vertex) {
            Some(buffer) => buffer,
            None => self.incomplete.entry(vertex.to_owned()).or_default(),
        };
        buffer.extend_from_slice(bytes);
        let mut written: Vec<u8> = buffer.drain(..complete(buffer)).collect();
        if buffer.len() > LONGEST_LINE {
            written.append(buffer);
            written.push(b'\n');
        }
        (!written.is_empty()).then(|| written.into())
    }

    /// Returns the incomplete line of a vertex that has ended, as a line of its own.
    pub fn end(&mut self, vertex: &str) -> Option<Bytes> {
        let mut line = self.incomplete.remove(vertex)?;
        if line.is_empty() {
            return None;
        }
        line.push(b'\n');
        Some(line.into())
    }

    /// Returns the incomplete lines of all vertices, because the build has ended.
    pub fn end_all(&mut self) -> impl Iterator<Item = Bytes> {
        let mut vertices: Vec<String> = self.incomplete.keys().cloned().collect();
        vertices.sort();
        vertices.into_iter().filter_map(|vertex| self.end(&vertex))
    }
}

/// Returns the length of the complete lines, and of text that a carriage return overwrites: a progress bar is shown
/// while it moves, and the next line, of whatever vertex, replaces it.
fn complete(buffer: &[u8]) -> usize {
    let ends = |at: usize| match buffer[at] {
        b'\n' => true,
        // At the end, it may be the first half of a Windows line break.
        b'\r' => buffer.get(at + 1).is_some_and(|next| *next != b'\n'),
        _ => false,
    };
    let last = (0..buffer.len()).rev().find(|at| ends(*at));
    last.map_or(0, |at| at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pushes output of several vertices and returns everything that is written.
    fn written(parts: &[(&str, &str)]) -> String {
        let mut lines = VertexLines::default();
        let mut written = Vec::new();
        for (vertex, bytes) in parts {
            written.extend(lines.push(vertex, bytes.as_bytes()));
        }
        written.extend(lines.end_all());
        String::from_utf8(written.concat()).unwrap()
    }

    #[test]
    fn parts_of_lines_do_not_mix() {
        let parts = [
            ("a", "one "),
            ("b", "three "),
            ("a", "two\nand "),
            ("b", "four\n"),
            ("a", "more\n"),
        ];
        assert_eq!(written(&parts), "one two\nthree four\nand more\n");
    }

    #[test]
    fn a_last_line_without_line_break_stands_alone() {
        assert_eq!(
            written(&[("a", "x"), ("b", "y\n"), ("c", "z")]),
            "y\nx\nz\n"
        );
        let mut lines = VertexLines::default();
        assert_eq!(lines.push("a", b"x"), None);
        assert_eq!(lines.end("a").as_deref(), Some(&b"x\n"[..]));
        assert_eq!(lines.end("a"), None);
        assert_eq!(lines.end("b"), None);
    }

    #[test]
    fn overwritten_text_is_written_at_once() {
        let mut lines = VertexLines::default();
        let mut push = |bytes: &[u8]| lines.push("a", bytes).unwrap_or_default();
        assert_eq!(push(b"10%\r"), "");
        assert_eq!(push(b"20%\r"), "10%\r");
        assert_eq!(push(b"\n"), "20%\r\n");
        assert_eq!(push(b"\r 10%"), "\r");
        assert_eq!(push(b"\r 20%"), " 10%\r");
        assert_eq!(push(b"one\r\ntwo\r\n"), " 20%one\r\ntwo\r\n");
    }

    #[test]
    fn an_endless_line_is_broken() {
        let mut lines = VertexLines::default();
        let long = vec![b'x'; LONGEST_LINE];
        assert_eq!(lines.push("a", &long), None);
        let broken = lines.push("a", b"xy").unwrap();
        assert_eq!(broken.len(), LONGEST_LINE + 3);
        assert!(broken.ends_with(b"xy\n"));
        assert_eq!(lines.end("a"), None);
    }
}
