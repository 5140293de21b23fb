//! Authentication challenges and tokens of registries.

use http_auth::parser::ChallengeParser;
use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};

/// The authentication that a registry requires.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    /// None.
    None,
    /// User and password with each request.
    Basic,
    /// A token from a token server.
    Bearer {
        /// The URL of the token server.
        realm: String,
        /// The service that the token is for.
        service: Option<String>,
    },
}

impl Challenge {
    /// Reads the challenge of a 401 response; bearer tokens are preferred.
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

/// Returns the token in the response of a token server.
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
    fn challenges_are_parsed() {
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
    fn tokens_are_parsed() {
        assert_eq!(token_of(r#"{"token":"a"}"#).as_deref(), Some("a"));
        assert_eq!(token_of(r#"{"access_token":"b"}"#).as_deref(), Some("b"));
        assert_eq!(token_of(r#"{"token":""}"#), None);
    }
}
