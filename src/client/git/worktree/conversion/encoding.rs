//! The attribute `working-tree-encoding`: blobs are UTF-8, files have a different encoding.
//!
//! Git converts with the system's `iconv`. This module returns the same bytes as glibc's, or an error: if the
//! tables of `encoding_rs` differ for a legacy encoding, it is either not supported or limited to the
//! characters on which both agree. A test compares all encodings with the `iconv` program.

use encoding_rs as tables;
use thiserror::Error;

use super::legacy::Legacy;

/// A working-tree encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    /// UTF-16 or UTF-32.
    Wide(Wide),
    /// ISO-8859-1
    Latin1,
    /// ASCII
    Ascii,
    Legacy(Legacy),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wide {
    unit: CodeUnit,
    order: Order,
    mark: Mark,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CodeUnit {
    Two,
    Four,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Little,
    Big,
}

/// How the byte order mark is handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    /// `UTF-16`: required, and determines the byte order.
    Required,
    /// `UTF-16LE-BOM`: written.
    Written,
    /// `UTF-16LE`: not allowed.
    Forbidden,
}

/// A conversion that xp does not support.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum Unsupported {
    /// An unknown encoding.
    #[error("the attribute `working-tree-encoding={0}` names an encoding that xp does not support")]
    Name(String),
    /// The attribute without a value.
    #[error("the attribute `{0}` has no value, which git also rejects")]
    NoValue(&'static str),
    /// A character that `encoding_rs` and glibc encode differently.
    #[error(
        "the attribute `working-tree-encoding={name}` does not support the character U+{:04X}",
        u32::from(*.character)
    )]
    Character {
        /// The encoding.
        name: &'static str,
        character: char,
    },
}

impl Encoding {
    /// Returns the encoding with this name; `None` for UTF-8, which needs no conversion.
    pub(super) fn of(name: &str) -> Option<Result<Self, Unsupported>> {
        let upper = name.to_ascii_uppercase();
        if upper.is_empty() || matches!(utf(&upper), Some("8")) {
            return None;
        }
        let known = utf(&upper)
            .and_then(Wide::of)
            .map(Self::Wide)
            .or(match upper.as_str() {
                "ISO-8859-1" | "ISO8859-1" | "ISO_8859-1" | "ISO88591" | "LATIN1" | "LATIN-1"
                | "L1" => Some(Self::Latin1),
                "ASCII" | "US-ASCII" | "ANSI_X3.4-1968" => Some(Self::Ascii),
                other => Legacy::of(other).map(Self::Legacy),
            });
        Some(known.ok_or_else(|| Unsupported::Name(name.to_owned())))
    }

    /// Returns the error for an attribute that is set or unset without a value.
    pub(super) fn without_name(is_set: bool) -> Option<Result<Self, Unsupported>> {
        let attribute = if is_set {
            "working-tree-encoding"
        } else {
            "-working-tree-encoding"
        };
        Some(Err(Unsupported::NoValue(attribute)))
    }

    /// Encodes a blob; `None` if it is not UTF-8 or contains a character that the encoding lacks: git writes
    /// such a blob unchanged.
    pub(super) fn encode(self, blob: &[u8]) -> Result<Option<Vec<u8>>, Unsupported> {
        let Ok(text) = std::str::from_utf8(blob) else {
            return Ok(None);
        };
        match self {
            Self::Wide(wide) => Ok(Some(wide.encode(text))),
            Self::Latin1 => Ok(text.chars().map(|c| u8::try_from(c).ok()).collect()),
            Self::Ascii => Ok(text.is_ascii().then(|| blob.to_vec())),
            Self::Legacy(legacy) => legacy.encode(text),
        }
    }

    /// Decodes a file; `None` if it is not in this encoding: git reads such a file unchanged.
    pub(super) fn decode(self, file: &[u8]) -> Option<Vec<u8>> {
        let text = match self {
            Self::Wide(wide) => wide.decode(file)?,
            Self::Latin1 => tables::mem::decode_latin1(file).into_owned(),
            Self::Ascii => String::from_utf8(file.to_vec())
                .ok()
                .filter(|it| it.is_ascii())?,
            Self::Legacy(legacy) => legacy.decode(file)?,
        };
        Some(text.into_bytes())
    }
}

/// Returns the name after the prefix `UTF` or `UTF-`.
fn utf(upper: &str) -> Option<&str> {
    let rest = upper.strip_prefix("UTF")?;
    Some(rest.strip_prefix('-').unwrap_or(rest))
}

impl Wide {
    fn of(name: &str) -> Option<Self> {
        let (unit, rest) = match name.split_at_checked(2)? {
            ("16", rest) => (CodeUnit::Two, rest),
            ("32", rest) => (CodeUnit::Four, rest),
            _ => return None,
        };
        let (order, mark) = match rest {
            // glibc uses the machine's byte order; xp is only built for little-endian machines.
            "" => (Order::Little, Mark::Required),
            "LE" => (Order::Little, Mark::Forbidden),
            "BE" => (Order::Big, Mark::Forbidden),
            "LE-BOM" if unit == CodeUnit::Two => (Order::Little, Mark::Written),
            "BE-BOM" if unit == CodeUnit::Two => (Order::Big, Mark::Written),
            _ => return None,
        };
        Some(Self { unit, order, mark })
    }

    fn encode(self, text: &str) -> Vec<u8> {
        let mark = match self.mark {
            Mark::Forbidden => "",
            Mark::Required | Mark::Written => "\u{feff}",
        };
        let characters = mark.chars().chain(text.chars());
        match (self.unit, self.order) {
            (CodeUnit::Four, Order::Little) => characters
                .flat_map(|c| u32::from(c).to_le_bytes())
                .collect(),
            (CodeUnit::Four, Order::Big) => characters
                .flat_map(|c| u32::from(c).to_be_bytes())
                .collect(),
            (CodeUnit::Two, order) => {
                let mut units = [0; 2];
                let mut bytes = Vec::with_capacity(2 * text.len() + 2);
                for character in characters {
                    for unit in character.encode_utf16(&mut units) {
                        bytes.extend(match order {
                            Order::Little => unit.to_le_bytes(),
                            Order::Big => unit.to_be_bytes(),
                        });
                    }
                }
                bytes
            }
        }
    }

    fn decode(self, file: &[u8]) -> Option<String> {
        let (little, big): (&[u8], &[u8]) = match self.unit {
            CodeUnit::Two => (b"\xff\xfe", b"\xfe\xff"),
            CodeUnit::Four => (b"\xff\xfe\0\0", b"\0\0\xfe\xff"),
        };
        let marked = [(little, Order::Little), (big, Order::Big)]
            .into_iter()
            .find_map(|(mark, order)| Some((file.strip_prefix(mark)?, order)));
        let (rest, order) = match (self.mark, marked) {
            // Git can write UTF-16BE-BOM but not read it.
            (Mark::Written, _) if self.order == Order::Big => return None,
            (Mark::Forbidden, Some(_)) | (Mark::Required, None) => return None,
            (Mark::Forbidden, None) => (file, self.order),
            (Mark::Required | Mark::Written, Some(marked)) => marked,
            // The default of `iconv` for UTF-16 without a mark.
            (Mark::Written, None) => (file, Order::Little),
        };
        match self.unit {
            CodeUnit::Two => {
                let (units, odd) = rest.as_chunks::<2>();
                let units = units.iter().map(|unit| match order {
                    Order::Little => u16::from_le_bytes(*unit),
                    Order::Big => u16::from_be_bytes(*unit),
                });
                let text: Result<String, _> = char::decode_utf16(units).collect();
                text.ok().filter(|_| odd.is_empty())
            }
            CodeUnit::Four => {
                let (units, odd) = rest.as_chunks::<4>();
                let units = units.iter().map(|unit| match order {
                    Order::Little => u32::from_le_bytes(*unit),
                    Order::Big => u32::from_be_bytes(*unit),
                });
                let text: Option<String> = units.map(char::from_u32).collect();
                text.filter(|_| odd.is_empty())
            }
        }
    }
}
