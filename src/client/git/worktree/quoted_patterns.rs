//! Detects quoted patterns in `.gitattributes`, which libgit2 does not support: `"a b.txt" eol=crlf`.

use git2::{Index, IndexEntry, Repository};

use crate::base::wildmatch::wildmatch;
use crate::client::git::GitError;
use crate::client::git::error::GitErrorKind;
use crate::model::source::PathSelection;

/// The attributes that affect the content of a file.
const CONTENT_ATTRIBUTES: [&str; 7] = [
    "text",
    "eol",
    "crlf",
    "ident",
    "filter",
    "binary",
    "working-tree-encoding",
];

/// Checks that no wanted file has an attribute from a quoted pattern that affects its content.
///
/// # Errors
///
/// A file has one; the hint shows the pattern without quotes.
pub fn check(
    repository: &Repository,
    index: &Index,
    wanted: &PathSelection,
) -> Result<(), GitError> {
    for entry in index
        .iter()
        .filter(|entry| entry.mode & 0o170_000 == 0o100_000)
    {
        let Some(folder) = entry.path.strip_suffix(b".gitattributes") else {
            continue;
        };
        if !folder.is_empty() && !folder.ends_with(b"/") {
            continue;
        }
        let Ok(blob) = repository.find_blob(entry.id) else {
            continue;
        };
        for line in blob.content().split(|byte| *byte == b'\n') {
            let Some((pattern, attributes)) = parse_quoted(line) else {
                continue;
            };
            let Some(attribute) = content_attribute(blob.content(), &attributes) else {
                continue;
            };
            let mut files = index.iter().filter(|file| wanted.includes(&file.path));
            if let Some(file) = files.find(|file| matches(folder, &pattern, file)) {
                return Err(unsupported_pattern(&entry, &file, &pattern, attribute));
            }
        }
    }
    Ok(())
}

fn unsupported_pattern(
    entry: &IndexEntry,
    file: &IndexEntry,
    pattern: &[u8],
    attribute: &str,
) -> GitError {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let what = format!(
        "`{}` has the attribute `{attribute}` from a quoted pattern, which xp does not support",
        text(&file.path)
    );
    let plain: String = text(pattern).replace([' ', '\t', '"'], "?");
    GitError::new(GitErrorKind::Local, what)
        .because(format!(
            "the pattern in `{}` is \"{}\"",
            text(&entry.path),
            text(pattern)
        ))
        .with_hint(format!(
            "write `{plain}` without quotes instead; `?` matches any character"
        ))
}

/// Returns pattern and attributes of a line that starts with a quotation mark.
fn parse_quoted(line: &[u8]) -> Option<(Vec<u8>, String)> {
    let mut rest = line.trim_ascii_start().strip_prefix(b"\"")?;
    let mut pattern = Vec::new();
    loop {
        let (byte, after) = rest.split_first()?;
        rest = after;
        match byte {
            b'"' => break,
            b'\\' => {
                let (escaped, after) = rest.split_first()?;
                rest = after;
                pattern.push(match escaped {
                    b'a' => 0x07,
                    b'b' => 0x08,
                    b'f' => 0x0c,
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'v' => 0x0b,
                    b'0'..=b'3' => {
                        let (more, after) = rest.split_at_checked(2)?;
                        rest = after;
                        let digits = [*escaped, more[0], more[1]];
                        u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 8).ok()?
                    }
                    other => *other,
                });
            }
            other => pattern.push(*other),
        }
    }
    Some((pattern, String::from_utf8_lossy(rest).into_owned()))
}

/// Returns the first attribute that affects the content of a file, or that is a macro of `.gitattributes`.
fn content_attribute<'a>(file: &[u8], attributes: &'a str) -> Option<&'a str> {
    let macros: Vec<&[u8]> = file
        .split(|byte| *byte == b'\n')
        .filter_map(|line| line.strip_prefix(b"[attr]"))
        .filter_map(|line| line.split(u8::is_ascii_whitespace).next())
        .collect();
    attributes.split_ascii_whitespace().find(|attribute| {
        let name = attribute.trim_start_matches(['-', '!']);
        let name = name.split('=').next().unwrap_or(name);
        CONTENT_ATTRIBUTES.contains(&name) || macros.contains(&name.as_bytes())
    })
}

fn matches(folder: &[u8], pattern: &[u8], file: &IndexEntry) -> bool {
    let Some(path) = file.path.strip_prefix(folder) else {
        return false;
    };
    if pattern.contains(&b'/') {
        return wildmatch(pattern.strip_prefix(b"/").unwrap_or(pattern), path);
    }
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or(path);
    wildmatch(pattern, name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_unquoted_like_git_does() {
        let read = |line: &str| parse_quoted(line.as_bytes());
        let expected = |pattern: &[u8], rest: &str| Some((pattern.to_vec(), rest.to_owned()));
        assert_eq!(read("\"a b\" text"), expected(b"a b", " text"));
        assert_eq!(
            read(" \"a\\\"\\t\\303\\274\" -text"),
            expected("a\"\t\u{fc}".as_bytes(), " -text")
        );
        assert_eq!(read("a\\ b text"), None);
        assert_eq!(read("\"open text"), None);
        assert_eq!(
            content_attribute(b"", " diff=x -text eol=lf"),
            Some("-text")
        );
        assert_eq!(
            content_attribute(b"[attr]mine text\n", " mine"),
            Some("mine")
        );
        assert_eq!(content_attribute(b"", " linguist-vendored"), None);
    }
}
