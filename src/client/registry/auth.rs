//! How a registry wants to be told who asks: not at all, by a password, or by a token.

use http_auth::parser::ChallengeParser;
use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};

/// What a registry asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    /// Nothing.
    None,
    /// A user and a password with each request.
    Basic,
    /// A token from another server.
    Bearer {
        /// Where tokens are given out.
        realm: String,
        /// For whom the token is.
        service: Option<String>,
    },
}

impl Challenge {
    /// Reads the challenge of an answer with status 401; a token is preferred.
    pub fn read(headers: &HeaderMap) -> Self {
        let mut found = Self::None;
        for value in headers.get_all(WWW_AUTHENTICATE) {
            let Ok(value) = value.to_str() else { continue };
            for challenge in ChallengeParser::new(value).flatten() {
                if challenge.scheme.eq_ignore_ascii_case("basic") && found == Self::None {
                    found = Self::Basic;
                }
                if challenge.scheme.eq_ignore_ascii_case("bearer") {
                    let parameter = |name: &str| {
                        let found = challenge
                            .params
                            .iter()
                            .find(|(key, _)| key.eq_ignore_ascii_case(name));
                        found.map(|(_, value)| value.to_unescaped())
                    };
                    if let Some(realm) = parameter("realm") {
                        found = Self::Bearer {
                            realm,
                            service: parameter("service"),
                        };
                    }
                }
            }
        }
        found
    }
}

/// Returns the token in a token server's answer.
pub(super) fn token_of(text: &str) -> Option<String> {
    let value: serde_json::Value = serde_json::from_str(text).ok()?;
    let token = value
        .get("token")
        .or_else(|| value.get("access_token"))?
        .as_str()?;
    (!token.is_empty()).then(|| token.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn challenge(value: &str) -> Challenge {
        let mut headers = HeaderMap::new();
        headers.insert(WWW_AUTHENTICATE, value.parse().unwrap());
        Challenge::read(&headers)
    }

    #[test]
    fn challenges_are_read() {
        assert_eq!(challenge(r#"Basic realm="x""#), Challenge::Basic);
        assert_eq!(
            challenge(
                r#"Bearer realm="https://auth.example/token",service="registry.example",scope="a""#
            ),
            Challenge::Bearer {
                realm: "https://auth.example/token".to_owned(),
                service: Some("registry.example".to_owned())
            }
        );
        assert_eq!(challenge("Negotiate"), Challenge::None);
    }

    #[test]
    fn tokens_are_read() {
        assert_eq!(token_of(r#"{"token":"a"}"#).as_deref(), Some("a"));
        assert_eq!(token_of(r#"{"access_token":"b"}"#).as_deref(), Some("b"));
        assert_eq!(token_of(r#"{"token":""}"#), None);
    }
}
