//! Parser of `.env` files, by the rules of compose.

use super::interpolation::{ComposeVariables, Interpolated, interpolate};

/// A line that compose rejects.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct InvalidEnvironment {
    /// The line number, from 1.
    pub line: usize,
    pub message: String,
}

/// Adds the variables of a `.env` file. A value may reference the variables before it.
///
/// # Errors
///
/// The first line that compose rejects. The message does not quote it, because it may contain a secret.
pub(super) fn read(text: &str, values: &mut ComposeVariables) -> Result<(), InvalidEnvironment> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut rest = text;
    loop {
        rest = statement(rest);
        if rest.is_empty() {
            return Ok(());
        }
        let start = rest;
        let error = |message: String| InvalidEnvironment {
            line: 1 + text[..text.len() - start.len()].matches('\n').count(),
            message,
        };
        let (name, after) = name(rest).map_err(error)?;
        let Some(after) = after else {
            // Taken from the shell, whose variables are not used.
            rest = &rest[rest.find('\n').unwrap_or(rest.len())..];
            continue;
        };
        let (value, after) = value(after).map_err(error)?;
        let value = match value {
            EnvironmentValue::Literal(value) => Interpolated {
                text: value,
                ..Interpolated::default()
            },
            EnvironmentValue::Template(template) => interpolate(&template, values),
        };
        if value.invalid.is_some() {
            return Err(error("invalid reference to a variable".to_owned()));
        }
        values.insert(name.to_owned(), value);
        rest = after;
    }
}

/// Skips white space and comments.
fn statement(text: &str) -> &str {
    let mut text = text.trim_start();
    while text.starts_with('#') {
        text = text[text.find('\n').unwrap_or(text.len())..].trim_start();
    }
    text
}

/// White space, except the end of a line.
fn is_space(c: char) -> bool {
    matches!(
        c,
        '\t' | '\u{b}' | '\u{c}' | '\r' | ' ' | '\u{85}' | '\u{a0}'
    )
}

/// Returns the name and what follows `=` or `:`; `None` for a name without a value.
fn name(text: &str) -> Result<(&str, Option<&str>), String> {
    let text = match text.strip_prefix("export") {
        Some(after) if after.starts_with(char::is_whitespace) => after.trim_start_matches(is_space),
        _ => text,
    };
    for (at, c) in text.char_indices() {
        match c {
            '=' | ':' | '\n' => {
                let name = text[..at].trim_end();
                if name.contains(' ') {
                    return Err("the name of a variable contains a space".to_owned());
                }
                if name.is_empty() {
                    return Err("a variable has no name".to_owned());
                }
                let after = text[at + 1..].trim_start_matches(is_space);
                return Ok((name, (c != '\n').then_some(after)));
            }
            '_' | '.' | '-' | '[' | ']' => {}
            c if is_space(c) || c.is_alphabetic() || c.is_numeric() => {}
            c => {
                return Err(format!("`{c}` is not allowed in the name of a variable"));
            }
        }
    }
    Err("the last line has neither a value nor an end".to_owned())
}

/// A value before its variables are replaced.
enum EnvironmentValue {
    /// In single quotes: used as is.
    Literal(String),
    Template(String),
}

/// Returns the value, and the text after it.
fn value(text: &str) -> Result<(EnvironmentValue, &str), String> {
    let quote = match text.chars().next() {
        Some(quote @ ('"' | '\'')) => quote,
        _ => {
            let end = text.find('\n').unwrap_or(text.len());
            let line = text[..end].split(" #").next().unwrap_or_default();
            let value = EnvironmentValue::Template(line.trim_end().to_owned());
            return Ok((value, &text[end..]));
        }
    };
    let mut value = String::new();
    let mut is_escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            // An escaped quote loses its backslash; the other escapes are replaced later.
            c if c == quote && is_escaped => value.push(c),
            c if c == quote => {
                let value = match quote {
                    '"' => EnvironmentValue::Template(unescaped(&value)),
                    _ => EnvironmentValue::Literal(value),
                };
                return Ok((value, &text[at + 1..]));
            }
            '\\' if !is_escaped => {
                is_escaped = true;
                continue;
            }
            c => {
                if is_escaped {
                    value.push('\\');
                }
                value.push(c);
            }
        }
        is_escaped = false;
    }
    Err("unterminated quote".to_owned())
}

/// Replaces the escapes of a value in double quotes.
fn unescaped(text: &str) -> String {
    let mut result = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        result.push_str(before);
        let mut characters = after.chars();
        let simple = match characters.next() {
            Some('a') => Some("\u{7}"),
            Some('b') => Some("\u{8}"),
            Some('f') => Some("\u{c}"),
            Some('n') => Some("\n"),
            Some('r') => Some("\r"),
            Some('t') => Some("\t"),
            Some('v') => Some("\u{b}"),
            Some('"') => Some("\""),
            Some('\\') => Some("\\"),
            // Not a variable.
            Some('$') => Some("$$"),
            Some('0') => {
                let digits = characters.as_str();
                let length = digits
                    .bytes()
                    .take(3)
                    .take_while(u8::is_ascii_digit)
                    .count();
                let (octal, after) = digits.split_at(length);
                let code = u8::from_str_radix(octal, 8).ok();
                match code.filter(|_| length == 3) {
                    Some(code) => result.push(char::from(code)),
                    // Compose keeps it, without the zero.
                    None => {
                        result.push('\\');
                        result.push_str(octal);
                    }
                }
                rest = after;
                continue;
            }
            _ => None,
        };
        match simple {
            Some(replaced) => {
                result.push_str(replaced);
                rest = characters.as_str();
            }
            None => {
                result.push('\\');
                rest = after;
            }
        }
    }
    result + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> ComposeVariables {
        let mut values = ComposeVariables::new();
        read(text, &mut values).unwrap();
        values
    }

    #[test]
    fn values_may_be_quoted_and_reference_others() {
        let values = parsed(
            "\u{feff}# a comment\nHOST=h\nREPO=${HOST}/team # why\nTEXT=\"a ${HOST}\" # why\nRAW='${HOST}'\n\
             LONG=\"one\ntwo\"\n  export  E = x#y  \nYAML: z\nEMPTY=\nHASH= #x\nDEFAULT=${NO:-d}\nLATER=$AFTER\nAFTER=1\n\
             ESC=\"a\\nb\\\\c\\$HOST\\q\\0101\\\"x\\\"\"\nSINGLE='it\\'s \\n'\nPLAIN=a\\n$$HOST\nHOST=h2$HOST\n\
             SHELL\nexport ALSO\r\na.b-c[0]=1\n",
        );
        let text = |name: &str| values[name].text.as_str();
        for (name, expected) in [
            ("REPO", "h/team"),
            ("TEXT", "a h"),
            ("RAW", "${HOST}"),
            ("LONG", "one\ntwo"),
            ("E", "x#y"),
            ("YAML", "z"),
            ("EMPTY", ""),
            ("HASH", "#x"),
            ("DEFAULT", "d"),
            ("ESC", "a\nb\\c$HOST\\qA\"x\""),
            ("SINGLE", "it's \\n"),
            ("PLAIN", "a\\n$HOST"),
            ("HOST", "h2h"),
            ("a.b-c[0]", "1"),
        ] {
            assert_eq!(text(name), expected, "{name}");
        }
        assert_eq!(values["LATER"].missing, ["AFTER"]);
        assert!(!values.contains_key("SHELL") && !values.contains_key("ALSO"));
    }

    #[test]
    fn invalid_lines_are_reported() {
        for (text, line, expected) in [
            ("A=1\nB=\"x\n\n", 2, "unterminated quote"),
            ("\n\nA b=1\n", 3, "contains a space"),
            ("A!=1\n", 1, "`!` is not allowed"),
            ("A=\"x\"y\"\n", 1, "is not allowed"),
            ("A=${\n", 1, "invalid reference"),
            ("A=1\n=x\n", 2, "no name"),
            ("A=1\nB", 2, "neither a value"),
        ] {
            let error = read(text, &mut ComposeVariables::new()).unwrap_err();
            assert_eq!(error.line, line, "{text}");
            assert!(error.message.contains(expected), "{text}: {error:?}");
        }
    }
}
