//! Interpolation of `${VARIABLES}` by the rules of compose.

use std::collections::BTreeMap;

/// Placeholder for a variable without a value.
pub(super) const UNSET: char = '\u{fffd}';

/// Maximum nesting of defaults.
const MAX_DEPTH: usize = 8;

/// Maximum length of a text: variables that contain others can grow without bound.
const MAX_LENGTH: usize = 1 << 16;

/// The values of variables.
pub(super) type ComposeVariables = BTreeMap<String, Interpolated>;

/// A text with its variables replaced.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Interpolated {
    /// The text, with [`UNSET`] for each part without a value.
    pub text: String,
    /// The variables used, directly or in the values of others, in order.
    pub variables: Vec<String>,
    /// The variables without a value.
    pub missing: Vec<String>,
    /// A part that compose rejects.
    pub invalid: Option<String>,
}

impl Interpolated {
    /// A text without variables.
    #[cfg(test)]
    pub fn plain(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            ..Self::default()
        }
    }

    /// Returns whether a part of the text has no value.
    pub fn is_incomplete(&self) -> bool {
        !self.missing.is_empty() || self.invalid.is_some()
    }

    /// Returns where an incomplete text comes from, such as "`TAG`, which is not set in `.env`".
    pub fn cause(&self) -> String {
        if let Some(invalid) = &self.invalid {
            return format!("`{invalid}`, which compose rejects");
        }
        let names: Vec<String> = self
            .missing
            .iter()
            .map(|name| format!("`{name}`"))
            .collect();
        let verb = if names.len() == 1 { "is" } else { "are" };
        format!("{}, which {verb} not set in `.env`", names.join(", "))
    }

    fn add_missing(&mut self, name: &str) {
        self.text.push(UNSET);
        add(&mut self.missing, name);
    }

    fn add_value(&mut self, value: &Self) {
        if self.text.len() + value.text.len() > MAX_LENGTH {
            return self.reject("a value that expands to more than 64 KiB");
        }
        self.text.push_str(&value.text);
        self.add_causes(value);
    }

    fn add_causes(&mut self, other: &Self) {
        for name in &other.variables {
            add(&mut self.variables, name);
        }
        for name in &other.missing {
            add(&mut self.missing, name);
        }
        if self.invalid.is_none() {
            self.invalid.clone_from(&other.invalid);
        }
    }

    fn reject(&mut self, part: &str) {
        self.text.push(UNSET);
        self.invalid.get_or_insert_with(|| part.to_owned());
    }

    /// Returns whether compose would see an empty value; parts without a value count as empty.
    fn is_empty(&self) -> bool {
        self.text.chars().all(|c| c == UNSET)
    }
}

fn add(names: &mut Vec<String>, name: &str) {
    if names.iter().all(|known| known != name) {
        names.push(name.to_owned());
    }
}

/// Replaces `$NAME`, `${NAME}` and the forms with an operator; `$$` is a dollar sign.
///
/// Values come from `.env` only: the manifest must not depend on the variables of this shell.
pub(super) fn interpolate(text: &str, values: &ComposeVariables) -> Interpolated {
    let mut result = Interpolated::default();
    replace(text, values, &mut result, 0);
    result
}

fn replace(text: &str, values: &ComposeVariables, result: &mut Interpolated, depth: usize) {
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        result.text.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        if let Some(after) = after.strip_prefix('$') {
            result.text.push('$');
            rest = after;
        } else if let Some(inner) = after.strip_prefix('{') {
            let Some(end) = closing(inner) else {
                return result.reject(&rest[at..]);
            };
            braced(&inner[..end], values, result, depth);
            rest = &inner[end + 1..];
        } else {
            let (name, after) = after.split_at(name_length(after));
            if name.is_empty() {
                result.text.push('$');
            } else {
                add(&mut result.variables, name);
                match values.get(name) {
                    Some(value) => result.add_value(value),
                    None => result.add_missing(name),
                }
            }
            rest = after;
        }
    }
    result.text.push_str(rest);
}

/// Replaces the contents of `${…}`.
fn braced(inner: &str, values: &ComposeVariables, result: &mut Interpolated, depth: usize) {
    let (name, operation) = inner.split_at(name_length(inner));
    let without_colon = operation.strip_prefix(':').unwrap_or(operation);
    let mut characters = without_colon.chars();
    let operator = characters.next();
    let is_operation = operation.is_empty() || matches!(operator, Some('-' | '+' | '?'));
    // Compose's pattern does not match across lines.
    if name.is_empty() || !is_operation || operation.contains('\n') {
        return result.reject(&format!("${{{inner}}}"));
    }
    add(&mut result.variables, name);
    let value = values.get(name);
    let Some(operator) = operator else {
        return match value {
            Some(value) => result.add_value(value),
            None => result.add_missing(name),
        };
    };
    let mut other = Interpolated::default();
    if depth < MAX_DEPTH {
        replace(characters.as_str(), values, &mut other, depth + 1);
    } else {
        other.reject(&format!("${{{inner}}}"));
    }
    // Compose replaces the variables of the other value even if it does not use it.
    if other.invalid.is_some() {
        result.text.push(UNSET);
        return result.add_causes(&other);
    }
    let is_strict = operation.starts_with(':');
    let set = value.filter(|value| !is_strict || !value.is_empty());
    match (operator, set) {
        ('+', Some(_)) => result.add_value(&other),
        // Unset, or set to an empty value.
        ('+', None) => {}
        (_, Some(value)) => result.add_value(value),
        ('-', None) => result.add_value(&other),
        // `?` reports an error for a missing value.
        (_, None) => result.add_missing(name),
    }
}

/// Returns the position of the matching closing brace. Only `${` opens another one.
fn closing(inner: &str) -> Option<usize> {
    let mut open = 1;
    let mut is_dollar = false;
    for (at, c) in inner.char_indices() {
        match c {
            '{' if is_dollar => open += 1,
            '}' => open -= 1,
            _ => {}
        }
        if open == 0 {
            return Some(at);
        }
        is_dollar = c == '$';
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

#[cfg(test)]
mod tests {
    use super::*;

    fn values(pairs: &[(&str, &str)]) -> ComposeVariables {
        let pairs = pairs.iter();
        pairs
            .map(|(name, value)| ((*name).to_owned(), Interpolated::plain(value)))
            .collect()
    }

    #[test]
    fn variables_are_replaced_by_values_and_defaults() {
        let values = values(&[("TAG", "1.2"), ("EMPTY", "")]);
        let text = |text: &str| interpolate(text, &values).text;
        assert_eq!(text("a/b:$TAG"), "a/b:1.2");
        assert_eq!(text("${NO:-x}${NO-y}${EMPTY:-z}${EMPTY-w}"), "xyz");
        assert_eq!(text("${NO:-${TAG}}"), "1.2");
        assert_eq!(text("${NO:-{x}}y"), "{x}y");
        assert_eq!(text("${NO-x}}"), "x}");
        assert_eq!(
            text("${TAG:+yes}${NO:+no}${EMPTY+set}${EMPTY:+no}"),
            "yesset"
        );
        assert_eq!(text("$$TAG $ 5$ $5"), "$TAG $ 5$ $5");
        let unset = interpolate("x/${NO}:${ALSO:?why}", &values);
        assert!(unset.is_incomplete());
        assert_eq!(unset.variables, ["NO", "ALSO"]);
        assert_eq!(unset.missing, unset.variables);
        assert_eq!(unset.cause(), "`NO`, `ALSO`, which are not set in `.env`");
    }

    #[test]
    fn what_compose_rejects_is_incomplete() {
        let values = values(&[("A", "1")]);
        for text in [
            "${A",
            "${}",
            "${1}",
            "${A!x}",
            "${A:x}",
            "${A:-${}",
            "${A:-${}}",
            "${B:-x\ny}",
            &"${B:-".repeat(100),
            &format!("{}{}", "${B:-".repeat(100), "}".repeat(100)),
        ] {
            let result = interpolate(text, &values);
            assert!(result.invalid.is_some(), "{text}: {result:?}");
            assert!(result.cause().contains("compose rejects"));
        }
    }

    #[test]
    fn the_cause_of_a_missing_value_is_passed_on() {
        let mut values = values(&[("A", "1")]);
        values.insert("B".to_owned(), interpolate("$A-$C", &values));
        let result = interpolate("${B}", &values);
        assert_eq!(result.missing, ["C"]);
        assert_eq!(result.variables, ["B", "A", "C"]);
        assert_eq!(interpolate("${C:-x}${B:+y}", &values).text, "xy");
    }

    #[test]
    fn expanded_values_are_limited() {
        let mut values = values(&[("A0", "x")]);
        for level in 1..40 {
            let before = format!("${{A{0}}}${{A{0}}}", level - 1);
            values.insert(format!("A{level}"), interpolate(&before, &values));
        }
        let last = &values["A39"];
        assert!(last.is_incomplete() && last.text.len() <= 2 * MAX_LENGTH);
    }
}
