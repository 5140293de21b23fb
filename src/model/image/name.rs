//! Validation of image names.

use thiserror::Error;

/// An invalid image name, or an invalid part of one.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("invalid {what} `{text}`: {reason}")]
pub struct InvalidImageName {
    text: String,
    what: &'static str,
    reason: &'static str,
}

/// Returns a parser's error.
pub(super) fn invalid<T>(
    text: &str,
    what: &'static str,
    reason: &'static str,
) -> Result<T, InvalidImageName> {
    Err(InvalidImageName {
        text: text.to_owned(),
        what,
        reason,
    })
}

/// Validates the path of a repository; `text` is the whole name, for the error.
pub(super) fn check_path(text: &str, path: &str) -> Result<(), InvalidImageName> {
    const WHAT: &str = "image name";
    if path.is_empty() {
        return invalid(text, WHAT, "missing repository");
    }
    if text.len() > 255 {
        return invalid(text, WHAT, "longer than 255 characters");
    }
    if path.chars().any(|c| c.is_ascii_uppercase()) {
        return invalid(text, WHAT, "uppercase letters are not allowed");
    }
    for part in path.split('/') {
        if part.is_empty() {
            return invalid(text, WHAT, "must not have an empty part between slashes");
        }
        if !part
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c))
        {
            return invalid(
                text,
                WHAT,
                "only lowercase letters, digits, `.`, `_`, `-` and `/` are allowed",
            );
        }
        let is_separator = |c: char| "._-".contains(c);
        if part.starts_with(is_separator) || part.ends_with(is_separator) {
            return invalid(
                text,
                WHAT,
                "a part must not start or end with `.`, `_` or `-`",
            );
        }
        let separators = part
            .split(|c: char| !is_separator(c))
            .filter(|run| !run.is_empty());
        if !separators
            .into_iter()
            .all(|run| matches!(run, "." | "_" | "__") || run.chars().all(|c| c == '-'))
        {
            return invalid(
                text,
                WHAT,
                "separators must be `.`, `_`, `__` or dashes, not a mix",
            );
        }
    }
    Ok(())
}
