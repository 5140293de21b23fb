//! Errors of registries.

use std::sync::Arc;
use std::time::Duration;

use reqwest::StatusCode;
use thiserror::Error;

use crate::base::error::{Diagnostic, Exit};
use crate::base::sanitize::sanitized_line;
use crate::client::http::HttpClientError;
use crate::model::image::Registry;
use crate::model::plan::TransferRefusal;

/// The hint for a refused tag.
const PROTECTED_TAG: &str = "if tags are immutable or protected in the registry, exempt those that move: of branches, `newest`, and those of `docker.tags` and `--tag`";

/// An error of a registry, or of the connection to it.
#[derive(Debug, Error)]
pub enum RegistryError {
    /// The registry does not respond.
    #[error("the registry {registry} did not respond to {request}: {reason}")]
    Unreachable {
        /// The registry.
        registry: Registry,
        /// The request.
        request: String,
        /// The reason, in a few words.
        reason: String,
        /// The error of the library, without credentials.
        why: reqwest::Error,
    },
    /// The registry requires credentials, or other ones.
    #[error("the registry {registry} rejects {who}{}", detail(.message))]
    Unauthorized {
        /// The registry.
        registry: Registry,
        /// The user, such as `the user bob` or `anonymous users`.
        who: String,
        /// The registry's message.
        message: String,
    },
    /// The user is known, but lacks permission.
    #[error("the registry {registry} does not allow {who} to {action}{}", detail(.message))]
    Denied {
        /// The registry.
        registry: Registry,
        /// The user.
        who: String,
        /// The denied action.
        action: String,
        /// The registry's message.
        message: String,
    },
    /// The registry does not delete images.
    #[error("the registry {registry} does not delete images: {status}")]
    DeletionDisabled {
        /// The registry.
        registry: Registry,
        /// The status.
        status: StatusCode,
    },
    /// The token server of the registry fails.
    #[error("the token server {server} of the registry {registry} {what}")]
    TokenServer {
        /// The registry.
        registry: Registry,
        /// The host of the token server.
        server: String,
        /// What is wrong with its response.
        what: String,
    },
    /// Any other response that is not a success.
    #[error("the registry {registry} returned {status} for {request}{}", detail(.message))]
    Status {
        /// The registry.
        registry: Registry,
        /// The request: the method, and for a write the image.
        request: String,
        /// The status.
        status: StatusCode,
        /// The registry's message.
        message: String,
        /// The seconds until the next request is allowed.
        retry_after: Option<u64>,
    },
    /// A response that no registry should send.
    #[error("invalid response from the registry {registry}: {what}")]
    Unexpected {
        /// The registry.
        registry: Registry,
        /// What is wrong.
        what: String,
    },
    /// The name refers to something other than an image.
    #[error("{image} is not an image but {what}")]
    NotAnImage {
        /// Its name.
        image: String,
        /// What it is instead.
        what: String,
    },
    /// The registry has the index of an image, but not every manifest that it lists.
    #[error("{image} is incomplete: the registry does not have {part}, which its index lists")]
    Incomplete {
        /// Its name.
        image: String,
        /// The digest of the missing manifest.
        part: String,
    },
    /// The registry has an image, but not all of its layers.
    #[error(
        "the registry {registry} does not have {digest}, which an image in {repository} refers to"
    )]
    MissingBlob {
        /// The registry.
        registry: Registry,
        /// The repository of the image.
        repository: String,
        /// The digest of the missing layer or configuration.
        digest: String,
    },
    /// An earlier error of the same registry.
    #[error(transparent)]
    Known(Arc<Self>),
    /// The Docker configuration cannot be read.
    #[error("cannot read the credentials in {path}: {what}")]
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
        /// The registry that it was run for.
        registry: Registry,
        /// What is wrong.
        what: String,
    },
    /// The HTTP client cannot be created, for example because of an invalid certificate.
    #[error("cannot connect to the registry {registry}")]
    Client {
        /// The registry.
        registry: Registry,
        /// The cause.
        #[source]
        source: HttpClientError,
    },
    /// A file in `certs.d` cannot be read.
    #[error("cannot read the certificate {path}")]
    Certificate {
        /// The file.
        path: String,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// A file that is uploaded or downloaded cannot be read or written.
    #[error("cannot read or write a file of an artifact")]
    File(#[source] std::io::Error),
    /// The image or repository has no registry.
    #[error("{0} does not name a registry")]
    NoRegistry(String),
}

impl RegistryError {
    /// Returns the status and message of the registry if it refused a request.
    pub fn rejection(&self) -> Option<(u16, &str)> {
        match self {
            Self::Unauthorized { message, .. } => Some((401, message)),
            Self::Denied { message, .. } => Some((403, message)),
            Self::Status {
                status, message, ..
            } => Some((status.as_u16(), message)),
            Self::Known(error) => error.rejection(),
            _ => None,
        }
    }

    /// Returns how long to wait before the next request.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => retry_after.map(Duration::from_secs),
            Self::Known(error) => error.retry_after(),
            _ => None,
        }
    }

    /// Returns whether the server may have closed the plain HTTP connection because it expects TLS.
    pub(super) fn may_be_tls(&self) -> bool {
        match self {
            Self::Unreachable { why, .. } => !why.is_connect() && !why.is_redirect(),
            _ => false,
        }
    }

    /// Returns whether the connection failed because of a certificate.
    pub(super) fn is_about_certificate(&self) -> bool {
        let Self::Unreachable { why, .. } = self else {
            return false;
        };
        let why = crate::base::error::chain(why).to_lowercase();
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
    /// Returns the status and message of the registry's own refusal.
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
                        "copy the registry's CA certificate to /etc/docker/certs.d/{registry}/ca.crt, or set SSL_CERT_FILE to it"
                    )
                } else {
                    "check the address, and that this machine can reach the registry; proxies are taken from the environment"
                        .to_owned()
                }
            }
            Self::Unauthorized { registry, .. } => {
                return vec![
                    format!("log in with `docker login {registry}`"),
                    "run `xp doctor` to see where the credentials come from".to_owned(),
                ];
            }
            Self::Denied { message, .. }
                if TransferRefusal::of(Some(403), message) == TransferRefusal::ImmutableTag =>
            {
                PROTECTED_TAG.to_owned()
            }
            Self::Denied { action, .. } if action.starts_with("delete ") => {
                "log in as a user who may delete images, or with a token that includes this permission"
                    .to_owned()
            }
            Self::Denied { .. } => {
                "request access to the repository, or log in as a user who has it".to_owned()
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
                format!("the registry limits the request rate: try again {when}")
            }
            Self::Status {
                request,
                status: StatusCode::METHOD_NOT_ALLOWED,
                ..
            } if request.starts_with("POST ") => {
                "the registry may be read-only, or a mirror that does not accept pushes".to_owned()
            }
            Self::Status {
                request,
                status: StatusCode::NOT_FOUND,
                ..
            } if request.starts_with("POST ") => {
                "in some registries, the repository or its project must be created before the first push"
                    .to_owned()
            }
            Self::Status {
                request, status, ..
            } if status.is_client_error() && request.starts_with("PUT ") => {
                PROTECTED_TAG.to_owned()
            }
            Self::Status { status, .. } if status.is_server_error() => {
                "the registry or a proxy in front of it is failing: check its log".to_owned()
            }
            Self::DeletionDisabled { .. } => {
                return vec![
                    "in the configuration of the registry, set `storage.delete.enabled: true`, or REGISTRY_STORAGE_DELETE_ENABLED=true for the container, and restart it".to_owned(),
                    "a mirror does not delete: set `registry` to the registry itself".to_owned(),
                ];
            }
            Self::NotAnImage { .. } => {
                return vec![
                    "`xp build --force` rebuilds the service and replaces it".to_owned(),
                    "another tool may have pushed it; only xp should push tags that are commits".to_owned(),
                ];
            }
            Self::Incomplete { .. } => "push the image again".to_owned(),
            Self::MissingBlob { .. } => {
                "its storage may be damaged; `xp build` builds the image again".to_owned()
            }
            Self::Known(error) => return error.hints(),
            Self::Helper { helper, .. } => {
                format!(
                    "install `{helper}`, or correct `credsStore` and `credHelpers` in Docker's config.json"
                )
            }
            _ => return Vec::new(),
        };
        vec![hint]
    }
}

/// Returns the messages of a registry's error response, or the start of any other text.
pub(super) fn message_of(text: &str) -> String {
    let messages: Vec<String> = envelope(text)
        .into_iter()
        .map(|(code, message)| match message.as_str() {
            "" => code,
            // In some registries, only the code contains the reason.
            _ if code.contains("IMMUTABLE") => format!("{code}: {message}"),
            _ => message,
        })
        .collect();
    // The first line is enough to recognize a proxy's error page.
    let page = || text.lines().next().unwrap_or_default().to_owned();
    shown(&if messages.is_empty() {
        page()
    } else {
        messages.join("; ")
    })
}

/// Returns a server's text for a message: shortened, without control characters.
pub(super) fn shown(text: &str) -> String {
    let text = sanitized_line(text.trim());
    match text.char_indices().nth(300) {
        Some((end, _)) => format!("{} …", &text[..end]),
        None => text,
    }
}

/// Returns whether a text is a registry's own "not found" error.
pub(super) fn is_not_found_message(text: &str) -> bool {
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
        assert!(is_not_found_message(
            r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#
        ));
        assert!(!is_not_found_message("<html>404 Not Found</html>"));
        assert!(!is_not_found_message(r#"{"errors":[{"code":"DENIED"}]}"#));
        assert!(!is_not_found_message(r#"{"errors":"no"}"#));
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
