//! Git's pkt-line format: the length in four hexadecimal digits, then the line.

/// A packet of git's protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet {
    /// `0000`: the end of a message.
    Flush,
    /// `0001`: the end of a section.
    Delimiter,
    /// `0002`: the end of a response on a stateless connection.
    ResponseEnd,
    /// A line without its line feed.
    Line(Vec<u8>),
}

/// Bytes that are not a packet of git's protocol.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid git packet length `{0}`")]
pub struct InvalidPacket(String);

/// Adds a line to a message.
pub fn write_line(message: &mut Vec<u8>, line: &str) {
    message.extend_from_slice(format!("{:04x}{line}", line.len() + 4).as_bytes());
}

/// Adds the end of a message.
pub fn write_flush(message: &mut Vec<u8>) {
    message.extend_from_slice(b"0000");
}

/// Adds the end of a section.
pub fn write_delimiter(message: &mut Vec<u8>) {
    message.extend_from_slice(b"0001");
}

/// Splits received bytes into packets.
#[derive(Default)]
pub struct PacketReader {
    bytes: Vec<u8>,
    start: usize,
}

impl PacketReader {
    /// Appends received bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.start == self.bytes.len() {
            self.bytes.clear();
            self.start = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Returns the next packet; `None` if it has not been received completely.
    pub fn next(&mut self) -> Result<Option<Packet>, InvalidPacket> {
        let rest = &self.bytes[self.start..];
        let Some(digits) = rest.get(..4) else {
            return Ok(None);
        };
        let length = std::str::from_utf8(digits)
            .ok()
            .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
            .and_then(|digits| usize::from_str_radix(digits, 16).ok())
            .filter(|length| *length != 3)
            .ok_or_else(|| {
                let shown = &rest[..rest.len().min(40)];
                InvalidPacket(String::from_utf8_lossy(shown).escape_debug().to_string())
            })?;
        let (packet, length) = match length {
            0 => (Packet::Flush, 4),
            1 => (Packet::Delimiter, 4),
            2 => (Packet::ResponseEnd, 4),
            _ => {
                let Some(line) = rest.get(4..length) else {
                    return Ok(None);
                };
                let line = line.strip_suffix(b"\n").unwrap_or(line);
                (Packet::Line(line.to_vec()), length)
            }
        };
        self.start += length;
        Ok(Some(packet))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_parsed_from_chunks_of_any_size() {
        let mut message = Vec::new();
        write_line(&mut message, "command=ls-refs\n");
        write_delimiter(&mut message);
        write_line(&mut message, "peel");
        write_flush(&mut message);
        assert_eq!(message, b"0014command=ls-refs\n00010008peel0000");

        for size in [1, 3, 7, 100] {
            let mut reader = PacketReader::default();
            let mut packets = Vec::new();
            for chunk in message.chunks(size) {
                reader.push(chunk);
                while let Some(packet) = reader.next().unwrap() {
                    packets.push(packet);
                }
            }
            assert_eq!(
                packets,
                [
                    Packet::Line(b"command=ls-refs".to_vec()),
                    Packet::Delimiter,
                    Packet::Line(b"peel".to_vec()),
                    Packet::Flush
                ]
            );
        }
    }

    #[test]
    fn web_pages_are_invalid_packets() {
        for wrong in ["<html><body>sign in</body>", "0003", "+123", "zzzz"] {
            let mut reader = PacketReader::default();
            reader.push(wrong.as_bytes());
            assert!(reader.next().is_err(), "{wrong}");
        }
        let mut reader = PacketReader::default();
        reader.push(b"00");
        assert_eq!(reader.next(), Ok(None));
    }
}
