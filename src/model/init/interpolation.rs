//! Interpolation of `${VARIABLES}` in compose files.

use std::collections::BTreeMap;

/// Placeholder for a variable without a value.
pub(super) const UNSET: char = '\u{fffd}';

/// Maximum nesting of defaults.
const MAX_DEPTH: usize = 8;

/// A text with its variables replaced.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Interpolated {
    /// The text, with [`UNSET`] for each variable without a value.
    pub text: String,
    /// The variables used, in order.
    pub variables: Vec<String>,
}

impl Interpolated {
    /// Returns whether a variable has no value.
    pub fn is_incomplete(&self) -> bool {
        self.text.contains(UNSET)
    }
}

/// Replaces `$NAME`, `${NAME}` and the forms with a default; `$$` is a dollar sign.
///
/// Values come from `.env` only: the manifest must not depend on the variables of this shell.
pub(super) fn interpolate(text: &str, values: &BTreeMap<String, String>) -> Interpolated {
    let mut result = Interpolated::default();
    replace(text, values, &mut result, 0);
    result
}

fn replace(text: &str, values: &BTreeMap<String, String>, result: &mut Interpolated, depth: usize) {
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        result.text.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        if let Some(after) = after.strip_prefix('$') {
            result.text.push('$');
            rest = after;
        } else if let Some(inner) = after.strip_prefix('{') {
            let Some(end) = closing(inner) else {
                result.text.push('$');
                rest = after;
                continue;
            };
            braced(&inner[..end], values, result, depth);
            rest = &inner[end + 1..];
        } else {
            let length = name_length(after);
            if length == 0 {
                result.text.push('$');
            } else {
                let name = &after[..length];
                result.variables.push(name.to_owned());
                match values.get(name) {
                    Some(value) => result.text.push_str(value),
                    None => result.text.push(UNSET),
                }
            }
            rest = &after[length..];
        }
    }
    result.text.push_str(rest);
}

/// Replaces the contents of `${…}`.
fn braced(inner: &str, values: &BTreeMap<String, String>, result: &mut Interpolated, depth: usize) {
    let (name, operation) = inner.split_at(name_length(inner));
    result.variables.push(name.to_owned());
    let value = values.get(name);
    let full = value.filter(|value| !value.is_empty());
    let (value, instead) = if let Some(default) = operation.strip_prefix(":-") {
        (full, Some(default))
    } else if let Some(default) = operation.strip_prefix('-') {
        (value, Some(default))
    } else if let Some(other) = operation.strip_prefix(":+") {
        return if full.is_some() {
            default(other, values, result, depth);
        };
    } else if let Some(other) = operation.strip_prefix('+') {
        return if value.is_some() {
            default(other, values, result, depth);
        };
    } else {
        // `:?` and `?` give an error message for a missing value.
        (value, None)
    };
    match (value, instead) {
        (Some(value), _) => result.text.push_str(value),
        (None, Some(text)) => default(text, values, result, depth),
        (None, None) => result.text.push(UNSET),
    }
}

fn default(text: &str, values: &BTreeMap<String, String>, result: &mut Interpolated, depth: usize) {
    if depth < MAX_DEPTH {
        replace(text, values, result, depth + 1);
    } else {
        result.text.push(UNSET);
    }
}

/// Returns the position of the matching closing brace.
fn closing(inner: &str) -> Option<usize> {
    let mut open = 1;
    for (at, c) in inner.char_indices() {
        match c {
            '{' => open += 1,
            '}' => open -= 1,
            _ => {}
        }
        if open == 0 {
            return Some(at);
        }
    }
    None
}

fn name_length(text: &str) -> usize {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        return 0;
    }
    text.find(|c| !is_name(c)).unwrap_or(text.len())
}

/// Reads a `.env` file: `NAME=value` lines, with quotes or without.
pub(super) fn environment_file(text: &str) -> BTreeMap<String, String> {
    let mut values = BTreeMap::new();
    for line in text.lines() {
        let line = line.trim();
        let line = line.strip_prefix("export ").unwrap_or(line);
        let Some((name, value)) = line.split_once('=') else {
            continue;
        };
        let (name, value) = (name.trim(), value.trim());
        if name.is_empty() || name_length(name) != name.len() {
            continue;
        }
        let quoted = ['"', '\''].into_iter().find_map(|quote| {
            let (inner, _) = value.strip_prefix(quote)?.split_once(quote)?;
            Some(inner)
        });
        let plain = || value.split(" #").next().unwrap_or(value).trim();
        values.insert(name.to_owned(), quoted.unwrap_or_else(plain).to_owned());
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_replaced_by_values_and_defaults() {
        let values = environment_file(
            "# a comment\nTAG=1.2\nexport EMPTY=\nQUOTED=\"a b\" # why\nPLAIN=c # why\nnonsense\n9=x\n",
        );
        let text = |text: &str| interpolate(text, &values).text;
        assert_eq!(text("a/b:$TAG"), "a/b:1.2");
        assert_eq!(text("${TAG}-${QUOTED}-${PLAIN}"), "1.2-a b-c");
        assert_eq!(text("${NO:-x}${NO-y}${EMPTY:-z}${EMPTY-w}"), "xyz");
        assert_eq!(text("${NO:-${TAG}}"), "1.2");
        assert_eq!(text("${TAG:+yes}${NO:+no}${EMPTY+set}"), "yesset");
        assert_eq!(text("$$TAG $ 5$"), "$TAG $ 5$");
        assert_eq!(text("${open"), "${open");
        let unset = interpolate("x/${NO}:${ALSO:?why}", &values);
        assert!(unset.is_incomplete());
        assert_eq!(unset.variables, ["NO", "ALSO"]);
        assert!(text(&"${A:-".repeat(100)).contains('$'));
    }
}
