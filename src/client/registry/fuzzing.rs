//! Fuzz target of the registry client: see `fuzzing`.

use reqwest::header::{HeaderMap, HeaderValue, WWW_AUTHENTICATE};

use super::auth::{Challenge, token_of};
use super::error::{is_not_found_message, message_of};
use super::labels::read_for_fuzzing;

/// Parses a response of a registry, token server or proxy: the bytes as a challenge header, and as each kind of body.
pub fn registry(bytes: &[u8]) {
    if let Ok(value) = HeaderValue::from_bytes(bytes) {
        let mut headers = HeaderMap::new();
        headers.insert(WWW_AUTHENTICATE, value);
        _ = Challenge::read(&headers);
    }
    read_for_fuzzing(bytes);
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    assert!(token_of(text).is_none_or(|token| !token.is_empty()));
    let message = message_of(text);
    assert!(!message.contains(char::is_control), "{message:?}");
    assert!(message.chars().count() <= 302, "{message:?}");
    _ = is_not_found_message(text);
}
