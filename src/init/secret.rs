//! What other tools' files hold that nobody should read in a manifest.

use std::borrow::Cow;

use super::build::Value;
use crate::manifest::may_be_secret;

/// Returns the value of a build argument, unless it may be a secret or would mean something to xp.
///
/// `variables` are those that the value came from, whose names tell as much as the argument's own.
pub(super) fn argument(
    name: &str,
    text: &str,
    variables: &[String],
    remark: Option<String>,
) -> Value {
    if may_be_secret(name) || variables.iter().any(|name| may_be_secret(name)) {
        return Value::Unknown("its value may be a secret, and is left out".to_owned());
    }
    if without_logins(text) != text {
        return Value::Unknown("its value has a login in a URL, and is left out".to_owned());
    }
    if text.contains("${{") {
        return Value::Unknown("its value has `${{`, which xp would replace".to_owned());
    }
    Value::Text(text.to_owned(), remark)
}

/// Returns a text whose URLs have no logins. The user of an ssh URL without a password is no login, but
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
    fn logins_are_cut_out_of_any_text() {
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
    fn secrets_are_no_build_arguments() {
        let is_left_out = |name: &str, text: &str, variables: &[&str]| {
            let variables: Vec<String> = variables.iter().map(ToString::to_string).collect();
            matches!(argument(name, text, &variables, None), Value::Unknown(_))
        };
        assert!(is_left_out("npm_token", "x", &[]));
        assert!(is_left_out("X", "x", &["DB_PASSWORD"]));
        assert!(is_left_out("INDEX", "https://a:b@h/simple", &[]));
        assert!(is_left_out("X", "${{ service.name }}", &[]));
        assert!(!is_left_out("INDEX", "https://h/simple", &["HOST"]));
        assert!(!is_left_out("KEYBOARD", "de", &[]));
    }
}
