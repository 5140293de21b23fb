//! The line of the Dockerfile in an error of BuildKit.
//!
//! The details of the gRPC status have it as JSON: BuildKit encodes its own types so, inside of protobuf messages.

use serde::Deserialize;

/// The type of the detail with a location.
const SOURCE: &str = "github.com/moby/buildkit/errdefs.Source";

/// The field of `google.rpc.Status` with the details.
const DETAILS: u64 = 3;

/// The fields of `google.protobuf.Any`.
const TYPE_URL: u64 = 1;
const VALUE: u64 = 2;

#[derive(Deserialize)]
struct ErrorSource {
    #[serde(default)]
    ranges: Vec<SourceRange>,
}

#[derive(Deserialize)]
struct SourceRange {
    start: SourcePosition,
}

#[derive(Deserialize)]
struct SourcePosition {
    #[serde(default)]
    line: usize,
}

/// Returns the line in the details of a status.
pub fn line(status: &[u8]) -> Option<usize> {
    let details = fields(status).filter(|(number, _)| *number == DETAILS);
    let mut lines = details.filter_map(|(_, detail)| {
        let field = |wanted| {
            let mut found = fields(detail).filter(|(number, _)| *number == wanted);
            found.next().map(|(_, bytes)| bytes)
        };
        if !field(TYPE_URL)?.starts_with(SOURCE.as_bytes()) {
            return None;
        }
        let source: ErrorSource = serde_json::from_slice(field(VALUE)?).ok()?;
        let line = source.ranges.first()?.start.line;
        (line > 0).then_some(line)
    });
    lines.next()
}

/// Returns the fields of a protobuf message that consist of bytes, up to the first invalid one.
fn fields(mut message: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    std::iter::from_fn(move || {
        loop {
            let key = varint(&mut message)?;
            let skipped = match key & 7 {
                0 => {
                    varint(&mut message)?;
                    0
                }
                1 => 8,
                5 => 4,
                2 => {
                    let length = usize::try_from(varint(&mut message)?).ok()?;
                    let (value, rest) = message.split_at_checked(length)?;
                    message = rest;
                    return Some((key >> 3, value));
                }
                _ => return None,
            };
            message = message.get(skipped..)?;
        }
    })
}

fn varint(message: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (first, rest) = message.split_first()?;
        *message = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        let length = bytes.len();
        let length = [(length & 0x7f) as u8 | 0x80, (length >> 7) as u8];
        [&[number << 3 | 2][..], &length, bytes].concat()
    }

    fn status(detail: &str, json: &str) -> Vec<u8> {
        let url = format!("github.com/moby/buildkit/{detail}");
        let detail = [field(1, url.as_bytes()), field(2, json.as_bytes())].concat();
        // A code, and a message that is longer than 127 bytes.
        let code = [1 << 3, 2];
        [&code[..], &field(2, &[b'x'; 200]), &field(3, &detail)].concat()
    }

    #[test]
    fn the_line_is_in_the_details() {
        let json = r#"{"info":{"filename":"Dockerfile","data":"RlJPTQ=="},"ranges":[{"start":{"line":4},"end":{"line":5}}]}"#;
        assert_eq!(line(&status("errdefs.Source+json", json)), Some(4));
        assert_eq!(line(&status("errdefs.Vertex+json", json)), None);
        assert_eq!(line(&status("errdefs.Source+json", r#"{"info":{}}"#)), None);
        assert_eq!(line(&status("errdefs.Source+json", "no JSON")), None);
    }

    #[test]
    fn truncated_messages_have_no_line() {
        let json = r#"{"ranges":[{"start":{"line":4}}]}"#;
        let whole = status("errdefs.Source+json", json);
        for end in 0..whole.len() {
            assert_eq!(line(&whole[..end]), None, "{end}");
        }
        assert_eq!(line(&[0xff; 32]), None);
        assert_eq!(line(&[0x1a, 0xff, 0xff, 0xff, 0xff, 0x0f]), None);
    }
}
