//! Credentials in URLs.

use std::ops::Range;

/// Removes user and password from a URL.
pub fn without_credentials(url: &str) -> String {
    let (scheme, rest) = match url.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), url),
    };
    // A password may contain `@` and even a slash.
    let address = rest.rsplit('@').next().unwrap_or(rest);
    format!("{scheme}{address}")
}

/// Replaces passwords in the URLs of a text, and users that may be tokens, with asterisks of the same length, so
/// that all positions stay the same.
pub fn with_masked_urls(text: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(scheme) = rest.find("://") {
        let (before, after) = rest.split_at(scheme + 3);
        masked.push_str(before);
        let ends = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | ',');
        let (word, tail) = after.split_at(after.find(ends).unwrap_or(after.len()));
        let is_http = before.ends_with("http://") || before.ends_with("https://");
        let user = if is_http { secret_user(word) } else { None };
        let secret = user.or_else(|| password(word)).unwrap_or(0..0);
        masked.push_str(&word[..secret.start]);
        masked.extend(std::iter::repeat_n('*', secret.len()));
        masked.push_str(&word[secret.end..]);
        rest = tail;
    }
    masked.push_str(rest);
    masked
}

/// Returns the range of the password of a URL, given the part after the scheme.
fn password(word: &str) -> Option<Range<usize>> {
    let (colon, at) = (word.find(':')?, word.rfind('@')?);
    (colon < at).then_some(colon + 1..at)
}

/// Returns the range of a user that may be a token, because there is no real password.
fn secret_user(word: &str) -> Option<Range<usize>> {
    let authority = word.split('/').next()?;
    let at = authority.rfind('@')?;
    let user = match authority[..at].split_once(':') {
        None => at,
        Some((user, "" | "x-oauth-basic")) => user.len(),
        Some(_) => return None,
    };
    Some(0..user)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_removed() {
        for (url, expected) in [
            ("http://bob:s3c/r@t@proxy:3128", "http://proxy:3128"),
            ("bob:s3cret@proxy:3128", "proxy:3128"),
            ("http://proxy:3128/", "http://proxy:3128/"),
        ] {
            assert_eq!(without_credentials(url), expected);
        }
    }

    #[test]
    fn passwords_are_masked_with_the_same_length() {
        for (text, expected) in [
            (
                "a: https://me:pä/ss@host/x b",
                "a: https://me:******@host/x b",
            ),
            (
                "https://u:p@q@h/, ssh://git@h:22/x",
                "https://u:***@h/, ssh://git@h:22/x",
            ),
            (
                "https://T0KEN@h/x, https://T0KEN:x-oauth-basic@h/x",
                "https://*****@h/x, https://*****:x-oauth-basic@h/x",
            ),
            ("git@host:x/y.git", "git@host:x/y.git"),
            ("", ""),
            ("https://host:80/x@y", "https://host:****@y"),
            ("nothing: here", "nothing: here"),
        ] {
            assert_eq!(with_masked_urls(text), expected);
        }
    }
}
