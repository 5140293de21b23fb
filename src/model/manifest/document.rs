//! The manifest's text, kept for errors that are found after parsing.

use std::ops::Range;

/// A manifest's text, and the path shown in its errors.
#[derive(Debug)]
pub(crate) struct ManifestText {
    /// The path as the user named it.
    pub path: String,
    /// The text; empty if the file could not be read.
    pub text: String,
}

impl ManifestText {
    /// Returns the text with passwords in URLs, and users that may be tokens, replaced by asterisks of the same
    /// length, so that errors can show a line without its credentials and all positions stay the same.
    pub fn without_passwords(&self) -> String {
        let mut masked = String::with_capacity(self.text.len());
        let mut rest = self.text.as_str();
        while let Some(scheme) = rest.find("://") {
            let (before, after) = rest.split_at(scheme + 3);
            masked.push_str(before);
            let ends = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | ',');
            let (word, tail) = after.split_at(after.find(ends).unwrap_or(after.len()));
            let secret = if before.ends_with("http://") || before.ends_with("https://") {
                secret_user(word).or_else(|| password(word))
            } else {
                password(word)
            };
            let secret = secret.unwrap_or(0..0);
            masked.push_str(&word[..secret.start]);
            masked.extend(std::iter::repeat_n('*', secret.len()));
            masked.push_str(&word[secret.end..]);
            rest = tail;
        }
        masked.push_str(rest);
        masked
    }
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
    fn passwords_are_masked_with_the_same_length() {
        let masked = |text: &str| {
            ManifestText {
                path: String::new(),
                text: text.to_owned(),
            }
            .without_passwords()
        };
        assert_eq!(
            masked("a: https://me:pä/ss@host/x b"),
            "a: https://me:******@host/x b"
        );
        assert_eq!(
            masked("https://u:p@q@h/, ssh://git@h:22/x"),
            "https://u:***@h/, ssh://git@h:22/x"
        );
        assert_eq!(
            masked("https://T0KEN@h/x, https://T0KEN:x-oauth-basic@h/x"),
            "https://*****@h/x, https://*****:x-oauth-basic@h/x"
        );
        for same in [
            "",
            "git@host:x/y.git",
            "https://host:80/x@y",
            "nothing: here",
        ] {
            assert_eq!(masked(same).len(), same.len());
        }
        assert_eq!(masked("git@host:x/y.git"), "git@host:x/y.git");
    }
}
