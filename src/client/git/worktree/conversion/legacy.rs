//! Encodings older than Unicode, using the tables of `encoding_rs` where they agree with glibc's.

use encoding_rs::{self as tables, EncoderResult};

use super::encoding::Unsupported;

/// An encoding older than Unicode.
#[derive(Debug, Clone, Copy)]
pub(super) struct Legacy {
    name: &'static str,
    table: &'static tables::Encoding,
    /// Whether glibc encodes the character to the same bytes.
    is_exact: fn(char, &[u8]) -> bool,
}

impl PartialEq for Legacy {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Legacy {}

/// Name, table, and the characters for which the table agrees with glibc.
type LegacyRow = (
    &'static str,
    &'static tables::Encoding,
    fn(char, &[u8]) -> bool,
);

/// The supported encodings, by the names that glibc, git's documentation and editors use.
const ROWS: &[LegacyRow] = &[
    ("ISO-8859-2", tables::ISO_8859_2, everywhere),
    ("ISO-8859-3", tables::ISO_8859_3, everywhere),
    ("ISO-8859-4", tables::ISO_8859_4, everywhere),
    ("ISO-8859-5", tables::ISO_8859_5, everywhere),
    ("ISO-8859-6", tables::ISO_8859_6, everywhere),
    ("ISO-8859-7", tables::ISO_8859_7, everywhere),
    ("ISO-8859-8", tables::ISO_8859_8, everywhere),
    ("ISO-8859-10", tables::ISO_8859_10, everywhere),
    ("ISO-8859-13", tables::ISO_8859_13, everywhere),
    ("ISO-8859-14", tables::ISO_8859_14, everywhere),
    ("ISO-8859-15", tables::ISO_8859_15, everywhere),
    ("ISO-8859-16", tables::ISO_8859_16, everywhere),
    ("CP1250", tables::WINDOWS_1250, everywhere),
    ("CP1251", tables::WINDOWS_1251, everywhere),
    ("CP1252", tables::WINDOWS_1252, everywhere),
    ("CP1253", tables::WINDOWS_1253, everywhere),
    ("CP1254", tables::WINDOWS_1254, everywhere),
    ("CP1256", tables::WINDOWS_1256, everywhere),
    ("CP1257", tables::WINDOWS_1257, everywhere),
    ("KOI8-R", tables::KOI8_R, everywhere),
    ("IBM866", tables::IBM866, everywhere),
    ("SHIFT_JIS", tables::SHIFT_JIS, in_shift_jis),
    ("CP932", tables::SHIFT_JIS, in_cp932),
    ("EUC-JP", tables::EUC_JP, in_euc_jp),
    ("EUC-KR", tables::EUC_KR, in_euc_kr),
    ("GB18030", tables::GB18030, in_gb18030),
];

/// Other names of the same encodings.
const ALIASES: &[(&str, &str)] = &[
    ("LATIN2", "ISO-8859-2"),
    ("LATIN-2", "ISO-8859-2"),
    ("LATIN-9", "ISO-8859-15"),
    ("WINDOWS-31J", "CP932"),
    ("MS932", "CP932"),
    ("SHIFT-JIS", "SHIFT_JIS"),
    ("SJIS", "SHIFT_JIS"),
    ("EUCJP", "EUC-JP"),
    ("EUCKR", "EUC-KR"),
    ("CP866", "IBM866"),
    ("866", "IBM866"),
];

impl Legacy {
    /// Returns the encoding with this name, in upper case.
    pub(super) fn of(upper: &str) -> Option<Self> {
        let plain = match upper.strip_prefix("WINDOWS-125") {
            Some(digit) => format!("CP125{digit}"),
            None => match upper
                .strip_prefix("ISO8859-")
                .or(upper.strip_prefix("ISO_8859-"))
            {
                Some(part) => format!("ISO-8859-{part}"),
                None => upper.to_owned(),
            },
        };
        let alias = ALIASES.iter().find(|(alias, _)| *alias == plain);
        let name = alias.map_or(plain.as_str(), |(_, name)| name);
        let (name, table, is_exact) = *ROWS.iter().find(|row| row.0 == name)?;
        Some(Self {
            name,
            table,
            is_exact,
        })
    }

    /// Encodes a text; `None` if the encoding lacks a character.
    pub(super) fn encode(self, text: &str) -> Result<Option<Vec<u8>>, Unsupported> {
        let mut bytes = Vec::with_capacity(text.len());
        for character in text.chars() {
            if character.is_ascii() {
                bytes.push(character as u8);
                continue;
            }
            let Some(encoded) = self.encode_one(character) else {
                // Single-byte tables are complete; multi-byte tables of glibc have more characters.
                return if self.table.is_single_byte() {
                    Ok(None)
                } else {
                    Err(self.unsupported(character))
                };
            };
            if !(self.is_exact)(character, &encoded) {
                return Err(self.unsupported(character));
            }
            bytes.extend(encoded);
        }
        Ok(Some(bytes))
    }

    /// Decodes a file; `None` if encoding the result would not yield the same bytes.
    pub(super) fn decode(self, file: &[u8]) -> Option<String> {
        let text = self
            .table
            .decode_without_bom_handling_and_without_replacement(file)?
            .into_owned();
        let is_exact = self.encode(&text).ok().flatten().as_deref() == Some(file);
        is_exact.then_some(text)
    }

    fn encode_one(self, character: char) -> Option<Vec<u8>> {
        // The tables for the web fill gaps with control characters.
        if self.table.is_single_byte() && matches!(character, '\u{80}'..='\u{9f}') {
            let has_controls = self.name.starts_with("ISO-");
            return has_controls.then(|| vec![character as u8]);
        }
        let mut text = [0; 4];
        let text = character.encode_utf8(&mut text);
        let mut bytes = vec![0; 8];
        let (result, _, written) = self
            .table
            .new_encoder()
            .encode_from_utf8_without_replacement(text, &mut bytes, true);
        bytes.truncate(written);
        (result == EncoderResult::InputEmpty).then_some(bytes)
    }

    fn unsupported(self, character: char) -> Unsupported {
        Unsupported::Character {
            name: self.name,
            character,
        }
    }
}

fn everywhere(_: char, _: &[u8]) -> bool {
    true
}

/// All except characters that are encoded as another one and do not round-trip.
fn in_cp932(character: char, _: &[u8]) -> bool {
    !matches!(character, '\u{80}' | '\u{a5}' | '\u{203e}' | '\u{2212}')
}

/// Characters that the JIS standard and Microsoft map to different code points.
fn is_disputed(character: char) -> bool {
    matches!(
        character,
        '\u{80}'
            | '\u{a5}'
            | '\u{203e}'
            | '\u{2014}'
            | '\u{2015}'
            | '\u{2016}'
            | '\u{2212}'
            | '\u{2225}'
            | '\u{301c}'
            | '\u{ff0d}'
            | '\u{ff3c}'
            | '\u{ff5e}'
            | '\u{ffe0}'..='\u{ffe6}'
    )
}

/// All except the extensions of NEC and IBM.
fn in_shift_jis(character: char, bytes: &[u8]) -> bool {
    let is_extension = matches!(
        bytes,
        [0x85..=0x87 | 0xeb..=0xfc, _] | [0x88, 0x40..=0x9e]
    );
    !is_disputed(character) && !is_extension
}

/// Like Shift_JIS.
fn in_euc_jp(character: char, bytes: &[u8]) -> bool {
    let is_extension = matches!(bytes, [0xa9..=0xaf | 0xf5..=0xfe, _] | [0x8f, _, _]);
    !is_disputed(character) && !is_extension
}

/// All except Microsoft's extension.
fn in_euc_kr(_: char, bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte >= 0xa1)
}

/// All except code points that moved between editions of the standard.
fn in_gb18030(character: char, _: &[u8]) -> bool {
    !matches!(
        character,
        '\u{e000}'
            ..='\u{f8ff}'
                | '\u{20087}'
                | '\u{20089}'
                | '\u{200cc}'
                | '\u{215d7}'
                | '\u{2298f}'
                | '\u{241fe}'
    )
}
