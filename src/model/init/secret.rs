//! Keeps secrets in tool files out of the manifest.

use std::borrow::Cow;

use super::build::ArgValue;
use crate::model::manifest::suggests_secret;

/// Returns the value of a build argument, unless it may be a secret or contains a placeholder of xp.
///
/// `variables` are the variables that the value came from: their names may also hint at a secret.
pub(super) fn argument(
    name: &str,
    text: &str,
    variables: &[String],
    remark: Option<String>,
) -> ArgValue {
    if suggests_secret(name) || variables.iter().any(|name| suggests_secret(name)) {
        return ArgValue::Unknown("its value may be a secret and was not copied".to_owned());
    }
    if without_logins(text) != text {
        return ArgValue::Unknown(
            "its value has credentials in a URL and was not copied".to_owned(),
        );
    }
    if text.contains("${{") {
        return ArgValue::Unknown("its value contains `${{`, which xp would replace".to_owned());
    }
    ArgValue::Text(text.to_owned(), remark)
}

/// Removes credentials from the URLs in a text. The user of an ssh URL without a password is kept: it is
/// part of the address.
pub(super) fn without_logins(text: &str) -> Cow<'_, str> {
    let mut kept = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        kept.push_str(before);
        let is_end = |c: char| c.is_whitespace() || "/?#\"'`,;<>".contains(c);
        let authority = &after[..after.find(is_end).unwrap_or(after.len())];
        rest = match authority.rfind('@') {
            Some(login) if !before.ends_with("ssh://") || authority[..login].contains(':') => {
                &after[login + 1..]
            }
            _ => after,
        };
    }
    if kept.is_empty() {
        return Cow::Borrowed(text);
    }
    Cow::Owned(kept + rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logins_are_removed_from_any_text() {
        for (text, expected) in [
            ("plain", "plain"),
            ("see https://h/x@y", "see https://h/x@y"),
            ("https://bob:s3cret@h/x, left", "https://h/x, left"),
            (
                "https://t0ken@h and http://a:b@c:1",
                "https://h and http://c:1",
            ),
            ("ssh://git@h/x", "ssh://git@h/x"),
            ("git+ssh://git:pw@h/x", "git+ssh://h/x"),
            ("https://a@b:c@h/", "https://h/"),
            ("git@h:x ://", "git@h:x ://"),
        ] {
            assert_eq!(without_logins(text), expected, "{text}");
        }
    }

    #[test]
    fn secrets_are_not_copied() {
        let is_omitted = |name: &str, text: &str, variables: &[&str]| {
            let variables: Vec<String> = variables.iter().map(ToString::to_string).collect();
            matches!(argument(name, text, &variables, None), ArgValue::Unknown(_))
        };
        assert!(is_omitted("npm_token", "x", &[]));
        assert!(is_omitted("X", "x", &["DB_PASSWORD"]));
        assert!(is_omitted("INDEX", "https://a:b@h/simple", &[]));
        assert!(is_omitted("X", "${{ service.name }}", &[]));
        assert!(!is_omitted("INDEX", "https://h/simple", &["HOST"]));
        assert!(!is_omitted("KEYBOARD", "de", &[]));
    }
}
