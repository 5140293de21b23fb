//! Texts that cannot name an image.

use thiserror::Error;

/// A text that cannot name an image, or a part of such a name.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{text}` is not {what}: {reason}")]
pub struct InvalidImageName {
    text: String,
    what: &'static str,
    reason: &'static str,
}

/// Makes the error of a parser.
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
