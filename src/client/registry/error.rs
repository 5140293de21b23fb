//! What can go wrong with a registry.

use std::sync::Arc;
use std::time::Duration;

use reqwest::StatusCode;
use thiserror::Error;

use crate::client::http::HttpClientError;
use crate::error::{Diagnostic, Exit};
use crate::image::Registry;

/// An error of a registry, or of the way to it.
#[derive(Debug, Error)]
pub enum RegistryError {
    /// The registry does not answer.
    #[error("the registry {registry} does not answer {request}: {reason}")]
    Unreachable {
        /// Which.
        registry: Registry,
        /// What it was asked.
        request: String,
        /// Why, in a few words.
        reason: String,
        /// Why, as the library has it, without credentials.
        why: reqwest::Error,
    },
    /// The registry wants other credentials, or any.
    #[error("the registry {registry} refuses {who}{}", detail(.message))]
    Unauthorized {
        /// Which.
        registry: Registry,
        /// Whom, such as `the user bob` or `anonymous users`.
        who: String,
        /// What it said.
        message: String,
    },
    /// The credentials are right, but lack the right.
    #[error("the registry {registry} does not allow {who} to {action}{}", detail(.message))]
    Denied {
        /// Which.
        registry: Registry,
        /// Whom.
        who: String,
        /// What was to be done.
        action: String,
        /// What it said.
        message: String,
    },
    /// The server that gives out tokens for the registry does not.
    #[error("the token server {server} of the registry {registry} {what}")]
    TokenServer {
        /// Of which registry.
        registry: Registry,
        /// Its host.
        server: String,
        /// What is wrong with its answer.
        what: String,
    },
    /// Any other answer that is no success.
    #[error("the registry {registry} answers {request} with {status}{}", detail(.message))]
    Status {
        /// Which.
        registry: Registry,
        /// What was asked: the method, and for a change the image.
        request: String,
        /// The status, with its usual words.
        status: StatusCode,
        /// What the registry said.
        message: String,
        /// The seconds for which it asks to be left alone.
        retry_after: Option<u64>,
    },
    /// An answer that is no registry's.
    #[error("the registry {registry} gives an answer that cannot be used: {what}")]
    Unexpected {
        /// Which.
        registry: Registry,
        /// What is wrong.
        what: String,
    },
    /// What is there under the name is not an image.
    #[error("{image} is not an image, but {what}")]
    NotAnImage {
        /// Its name.
        image: String,
        /// What it is.
        what: String,
    },
    /// The registry has an image's index, and lacks a manifest that the index lists.
    #[error("{image} is incomplete: the registry lacks {part}, which its index lists")]
    Incomplete {
        /// Its name.
        image: String,
        /// The digest of what is missing.
        part: String,
    },
    /// What was found out before about the registry.
    #[error(transparent)]
    Known(Arc<Self>),
    /// The Docker configuration cannot be read.
    #[error("the credentials in {path} cannot be read: {what}")]
    Configuration {
        /// The file.
        path: String,
        /// What is wrong.
        what: String,
    },
    /// A credential helper is missing or fails.
    #[error("the credential helper `{helper}` for {registry} {what}")]
    Helper {
        /// The program's name.
        helper: String,
        /// For which registry it was called.
        registry: Registry,
        /// What is wrong.
        what: String,
    },
    /// No client could be made, such as for a certificate that is none.
    #[error("the registry {registry} cannot be asked")]
    Client {
        /// Which.
        registry: Registry,
        /// Why.
        #[source]
        source: HttpClientError,
    },
    /// A file of `certs.d` cannot be read.
    #[error("the certificate {path} cannot be read")]
    Certificate {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The image, or its repository, names no registry.
    #[error("{0} is in no registry")]
    NoRegistry(String),
}

impl RegistryError {
    /// Returns the status of the registry's answer and what it said, where it refused a request.
    pub fn answer(&self) -> Option<(u16, &str)> {
        match self {
            Self::Unauthorized { message, .. } => Some((401, message)),
            Self::Denied { message, .. } => Some((403, message)),
            Self::Status {
                status, message, ..
            } => Some((status.as_u16(), message)),
            Self::Known(error) => error.answer(),
            _ => None,
        }
    }

    /// Returns how long the registry asks to be left alone.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => retry_after.map(Duration::from_secs),
            Self::Known(error) => error.retry_after(),
            _ => None,
        }
    }

    /// Tells whether a server may have closed a connection of plain HTTP because it speaks TLS.
    pub(super) fn may_be_tls(&self) -> bool {
        match self {
            Self::Unreachable { why, .. } => !why.is_connect() && !why.is_redirect(),
            _ => false,
        }
    }

    /// Tells whether a certificate is why nothing is said to a server.
    pub(super) fn is_about_certificate(&self) -> bool {
        let Self::Unreachable { why, .. } = self else {
            return false;
        };
        let why = crate::error::chain(why).to_lowercase();
        why.contains("certificate") || why.contains("unknownissuer")
    }
}

fn detail(message: &str) -> String {
    if message.is_empty() {
        String::new()
    } else {
        format!(": {message}")
    }
}

impl RegistryError {
    /// Returns the status of the registry's own refusal, and what it said.
    pub fn status(&self) -> Option<(u16, &str)> {
        match self {
            Self::Known(error) => error.status(),
            Self::Unauthorized { message, .. } => Some((401, message)),
            Self::Denied { message, .. } => Some((403, message)),
            Self::Status {
                status, message, ..
            } => Some((status.as_u16(), message)),
            _ => None,
        }
    }
}

impl Diagnostic for RegistryError {
    fn exit(&self) -> Exit {
        Exit::Outside
    }

    fn hints(&self) -> Vec<String> {
        let hint = match self {
            Self::Unreachable { registry, .. } => {
                if self.is_about_certificate() {
                    format!(
                        "put the registry's CA into /etc/docker/certs.d/{registry}/ca.crt, or name it by SSL_CERT_FILE"
                    )
                } else {
                    "is the address right, and is the registry reached from here? Proxies are taken from the environment"
                        .to_owned()
                }
            }
            Self::Unauthorized { registry, .. } => {
                return vec![
                    format!("log in with `docker login {registry}`"),
                    "`xp doctor` tells where the credentials come from".to_owned(),
                ];
            }
            Self::Denied { .. } => {
                "ask for the right to the repository, or log in as somebody who has it".to_owned()
            }
            Self::Status {
                status: StatusCode::TOO_MANY_REQUESTS,
                retry_after,
                ..
            } => {
                let when = match retry_after {
                    Some(seconds) => format!("in {seconds} seconds"),
                    None => "later".to_owned(),
                };
                format!("the registry limits the rate of requests: try again {when}")
            }
            Self::Status {
                request,
                status: StatusCode::METHOD_NOT_ALLOWED,
                ..
            } if request.starts_with("POST ") => {
                "the registry may be read-only, or a mirror that takes no pushes".to_owned()
            }
            Self::Status {
                request,
                status: StatusCode::NOT_FOUND,
                ..
            } if request.starts_with("POST ") => {
                "some registries want a repository, or its project, to be made before the first push"
                    .to_owned()
            }
            Self::Status {
                request, status, ..
            } if status.is_client_error() && request.starts_with("PUT ") => {
                "does the registry forbid that tags move? Then let it except those of branches and `newest`"
                    .to_owned()
            }
            Self::Status { status, .. } if status.is_server_error() => {
                "the registry itself fails, or a proxy before it: its own log tells why".to_owned()
            }
            Self::NotAnImage { .. } => {
                return vec![
                    "`xp build --force` builds the service again, and replaces what is there".to_owned(),
                    "another tool may have pushed it: its tags should not look like commits".to_owned(),
                ];
            }
            Self::Incomplete { .. } => "push the image again".to_owned(),
            Self::Known(error) => return error.hints(),
            Self::Helper { helper, .. } => {
                format!(
                    "install `{helper}`, or change `credsStore` and `credHelpers` in Docker's config.json"
                )
            }
            _ => return Vec::new(),
        };
        vec![hint]
    }
}

/// Returns the messages of a registry's error answer, or the start of any other text.
pub(super) fn message_of(text: &str) -> String {
    let messages: Vec<String> = envelope(text)
        .into_iter()
        .map(|(code, message)| match message.as_str() {
            "" => code,
            // Some registries say this by the code alone.
            _ if code.contains("IMMUTABLE") => format!("{code}: {message}"),
            _ => message,
        })
        .collect();
    // Of a proxy's page the first line is enough to recognise it.
    let page = || text.lines().next().unwrap_or_default().to_owned();
    shown(&if messages.is_empty() {
        page()
    } else {
        messages.join("; ")
    })
}

/// Makes a server's text fit for an error: short, and without what would steer a terminal.
pub(super) fn shown(text: &str) -> String {
    let text: String = text.trim().chars().filter(|c| !c.is_control()).collect();
    match text.char_indices().nth(300) {
        Some((end, _)) => format!("{} …", &text[..end]),
        None => text,
    }
}

/// Tells whether a text is a registry's own not-found.
pub(super) fn says_not_found(text: &str) -> bool {
    envelope(text).iter().any(|(code, _)| {
        matches!(
            code.as_str(),
            "MANIFEST_UNKNOWN" | "NAME_UNKNOWN" | "NOT_FOUND" | "MANIFEST_BLOB_UNKNOWN"
        )
    })
}

fn envelope(text: &str) -> Vec<(String, String)> {
    let Ok(value) = serde_json::from_str::<serde_json::Value>(text) else {
        return Vec::new();
    };
    let field = |error: &serde_json::Value, name: &str| {
        error
            .get(name)
            .and_then(serde_json::Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let errors = value
        .get("errors")
        .and_then(serde_json::Value::as_array)
        .cloned()
        .unwrap_or_default();
    errors
        .iter()
        .map(|error| (field(error, "code"), field(error, "message")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_registrys_own_not_found_counts() {
        assert!(says_not_found(
            r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#
        ));
        assert!(!says_not_found("<html>404 Not Found</html>"));
        assert!(!says_not_found(r#"{"errors":[{"code":"DENIED"}]}"#));
        assert!(!says_not_found(r#"{"errors":"no"}"#));
    }

    #[test]
    fn messages_are_short() {
        assert_eq!(
            message_of(r#"{"errors":[{"code":"DENIED","message":"no"},{"code":"X"}]}"#),
            "no; X"
        );
        assert_eq!(
            message_of(r#"{"errors":[{"code":"TAG_IMMUTABLE","message":"no"}]}"#),
            "TAG_IMMUTABLE: no"
        );
        assert_eq!(message_of("<html>\n<body>"), "<html>");
        assert_eq!(message_of("\u{1b}[31mred"), "[31mred");
        assert_eq!(message_of(&"x".repeat(1000)).len(), 304);
    }
}
