//! Comparisons with the `iconv` program and with git.

use std::io::Write as _;
use std::process::{Command, Stdio};

use super::*;

/// Converts with the library that git uses; `None` if it fails.
fn iconv(name: &str, text: &[u8]) -> Option<Vec<u8>> {
    let mut child = Command::new("iconv")
        .args(["-f", "UTF-8", "-t", name])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let text = text.to_vec();
    let writer = std::thread::spawn(move || _ = input.write_all(&text));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output.status.success().then_some(output.stdout)
}

fn encoding(name: &str) -> Encoding {
    Encoding::of(name).unwrap().unwrap()
}

const EXACT: &[&str] = &[
    "UTF-16",
    "UTF-16LE",
    "utf16be",
    "UTF-32",
    "UTF-32LE",
    "UTF-32BE",
    "ISO-8859-1",
    "latin1",
    "US-ASCII",
    "ISO-8859-2",
    "ISO-8859-3",
    "ISO-8859-4",
    "ISO-8859-5",
    "ISO-8859-6",
    "ISO-8859-7",
    "ISO-8859-8",
    "ISO-8859-10",
    "ISO-8859-13",
    "ISO-8859-14",
    "ISO8859-15",
    "ISO-8859-16",
    "CP1250",
    "WINDOWS-1251",
    "windows-1252",
    "CP1253",
    "CP1254",
    "CP1256",
    "CP1257",
    "KOI8-R",
    "IBM866",
    "CP866",
    "SHIFT-JIS",
    "Shift_JIS",
    "SJIS",
    "CP932",
    "WINDOWS-31J",
    "EUC-JP",
    "EUC-KR",
    "GB18030",
];

#[test]
fn encodings_match_iconv_or_fail() {
    for name in EXACT {
        let encoding = encoding(name);
        // No other legacy encoding has characters outside the basic plane.
        let end = match *name {
            "GB18030" | "UTF-16" | "UTF-32" => 0x30000,
            _ => 0x10000,
        };
        let all = (0..end).filter_map(char::from_u32);
        let (mut known, mut lacking) = (String::new(), Vec::new());
        for character in all.filter(|c| *c != '\u{feff}') {
            match encoding.encode(character.to_string().as_bytes()) {
                Ok(Some(_)) => known.push(character),
                Ok(None) => lacking.push(character),
                Err(_) => {}
            }
        }
        let encoded = encoding.encode(known.as_bytes()).unwrap().unwrap();
        assert!(
            iconv(name, known.as_bytes()).unwrap_or_default() == encoded,
            "{name}"
        );
        let decoded = encoding.decode(&encoded);
        assert!(decoded.as_deref() == Some(known.as_bytes()), "{name}");
        // A character that we report as missing is also missing in iconv.
        let lacking: String = lacking.into_iter().collect();
        let mut child = Command::new("iconv")
            .args(["-c", "-f", "UTF-8", "-t", name])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        let writer = std::thread::spawn(move || _ = input.write_all(lacking.as_bytes()));
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap();
        assert!(
            output.stdout.is_empty() || name.starts_with("UTF"),
            "{name}"
        );
    }
}

#[test]
fn unconvertible_content_is_unchanged() {
    assert_eq!(Encoding::of("UTF-8"), None);
    assert_eq!(Encoding::of("utf8"), None);
    assert_eq!(encoding("UTF-16").encode(b"caf\xe9"), Ok(None));
    assert_eq!(encoding("UTF-16").encode(b"\xed\xa0\x80"), Ok(None));
    assert_eq!(iconv("UTF-16", b"\xed\xa0\x80"), None);
    assert_eq!(encoding("ISO-8859-1").encode("€".as_bytes()), Ok(None));
    for (name, file) in [
        ("UTF-16", &b"a\0"[..]),
        ("UTF-16LE", b"\xff\xfea\0"),
        ("UTF-16LE", b"a\0b"),
        ("UTF-16BE-BOM", b"\xfe\xff\0a"),
        ("UTF-16LE", b"\x00\xd8"),
        ("UTF-32", b"a\0\0\0"),
        ("US-ASCII", b"\xe9"),
        ("ISO-8859-3", b"\xa5"),
    ] {
        assert_eq!(encoding(name).decode(file), None, "{name} {file:?}");
    }
    assert_eq!(encoding("UTF-16").decode(b"\xfe\xff\0a").unwrap(), b"a");
    assert_eq!(
        encoding("UTF-16LE-BOM").encode(b"a"),
        Ok(Some(b"\xff\xfea\0".to_vec()))
    );
    assert_eq!(
        encoding("UTF16BE-BOM").encode(b"a"),
        Ok(Some(b"\xfe\xff\0a".to_vec()))
    );
}

#[test]
fn unsupported_encodings_are_errors() {
    for name in ["UTF-7", "UTF-32LE-BOM", "EBCDIC-US", "BIG5", "no-such"] {
        assert!(Encoding::of(name).unwrap().is_err(), "{name}");
    }
    assert!(encoding("SHIFT-JIS").encode("\u{301c}".as_bytes()).is_err());
    assert!(Encoding::without_name(true).unwrap().is_err());
}

#[test]
fn ids_are_expanded_and_collapsed() {
    let id = "Id: b1b7161bd1e7b5b7e7b1e8d3c6d0e7c0e8a1f2d3 $";
    let expand = |text: &str| {
        let expanded = String::from_utf8(ident::expand(text.as_bytes())).unwrap();
        let hash = git2::Oid::hash_object(git2::ObjectType::Blob, text.as_bytes()).unwrap();
        expanded.replace(&hash.to_string(), "HASH")
    };
    for (text, expected) in [
        ("$Id$ and $Id$", "$Id: HASH $ and $Id: HASH $"),
        ("$Id: old $", "$Id: HASH $"),
        ("$Id: foreign id $", "$Id: foreign id $"),
        ("$Identity$ $Id$", "$Identity$ $Id: HASH $"),
        ("$Id: a\n$ $Id$", "$Id: a\n$ $Id: HASH $"),
        ("$Id: no end", "$Id: no end"),
        ("$$Id$$", "$$Id: HASH $$"),
    ] {
        assert_eq!(expand(text), expected);
    }
    let file = format!("${id} $Id: foreign id $ $Idx$");
    assert_eq!(ident::collapse(file.as_bytes()), b"$Id$ $Id$ $Idx$");
}

#[test]
fn a_mask_is_undone() {
    for text in ["", "$Id$ $iD$ $ID$ $Id", "$iD$Id$$Id"] {
        let masked = mask::apply(text.as_bytes());
        assert!(!masked.windows(3).any(|part| part == b"$Id"));
        assert_eq!(mask::remove(&masked), text.as_bytes());
    }
}
