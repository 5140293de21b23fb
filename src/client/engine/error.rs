//! Errors of the engine.

use std::error::Error as StdError;
use std::time::Duration;

use thiserror::Error;

use crate::base::error::{Diagnostic, Exit, innermost};
use crate::base::units;
use crate::model::image::ImageReference;

use crate::client::engine::build::base_registry;
use crate::client::engine::build::context::ContextError;
use crate::client::engine::build::instruction_error;
use crate::client::engine::connect::docker_context::DockerContextError;
use crate::client::engine::connect::ssh;

/// An error of the engine, or of the connection to it.
#[derive(Debug, Error)]
pub enum EngineError {
    /// The engine does not respond.
    #[error("cannot connect to the container engine at {address}")]
    Unreachable {
        /// The address of the engine.
        address: String,
        /// The cause.
        #[source]
        source: Box<dyn StdError + Send + Sync>,
    },
    /// The address of the engine is invalid.
    #[error("invalid container engine address `{0}`")]
    Address(String),
    /// The docker context is invalid.
    #[error(transparent)]
    DockerContext(#[from] DockerContextError),
    /// The files for TLS are invalid.
    #[error("cannot set up TLS with the container engine: {0}")]
    Tls(String),
    /// The engine is too old.
    #[error("the container engine at {address} has API version {found}; xp requires 1.41 or later")]
    TooOld {
        /// The address of the engine.
        address: String,
        /// Its API version.
        found: String,
    },
    /// The engine rejected a request.
    #[error(
        "the engine cannot {action}: {}",
        instruction_error::shortened(message)
    )]
    Refused {
        /// The action, such as `push r/app:1`.
        action: String,
        /// The message of the engine.
        message: String,
        /// The HTTP status; `None` for an error inside a stream.
        status: Option<u16>,
    },
    /// The connection was lost.
    #[error("the engine cannot {action}: lost the connection to it")]
    Broken {
        /// The action, such as `push r/app:1`.
        action: String,
        /// The cause.
        #[source]
        source: Box<dyn StdError + Send + Sync>,
    },
    /// A push or a pull makes no progress.
    #[error("the engine cannot {action}: no progress for {}", units::limit(*.limit))]
    Stalled {
        /// The action, such as `push r/app:1`.
        action: String,
        /// For how long there was no progress.
        limit: Duration,
    },
    /// The engine lacks some platforms of the image.
    #[error(
        "the engine cannot {action}: it has only some platforms of {image}, and would push a different image instead"
    )]
    PartialImage {
        /// The action, such as `push r/app:1`.
        action: String,
        /// The image.
        image: ImageReference,
    },
    /// The engine pushes a different image.
    #[error(
        "stopped the push of {image}: the engine was pushing {digest} instead, which is only one of its platforms"
    )]
    PushedInstead {
        /// The image.
        image: ImageReference,
        /// The digest of the image that was pushed instead.
        digest: String,
    },
    /// An image has no shell.
    #[error("the builder image {image} has no /bin/sh, which scripts require")]
    NoShell {
        /// The image.
        image: ImageReference,
        /// The output of the failed start.
        output: String,
    },
    /// An image has neither an entrypoint nor a command.
    #[error("the image {0} has no entrypoint and no command")]
    NoEntrypoint(String),
    /// There is no holder for the engine's architecture.
    #[error("xp cannot run plugins and sidecars on an engine for {0}, only for amd64 and arm64")]
    NoHolder(String),
    /// The engine removed a container before reporting its exit code.
    #[error("the engine does not know how the container of {0} ended")]
    UnknownEnd(String),
    /// A container exited too early.
    #[error("the builder container exited while its script was running")]
    ContainerGone,
    /// The engine could not start a program in a container.
    #[error("cannot start the program in the builder container: {0}")]
    NotStarted(String),
    /// The output of a program cannot be written.
    #[error("cannot write the output of the program")]
    Output(#[source] std::io::Error),
    /// A file that must be sent to a remote engine cannot be read.
    #[error("cannot send the files of the build to the engine: {0}")]
    Unsent(String),
    /// The results from a remote engine cannot be written.
    #[error("cannot copy the results of the build to {}", folder.display())]
    Unwritten {
        /// The destination.
        folder: std::path::PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// A file of the build context cannot be read.
    #[error("cannot send the build context: {0}")]
    ContextFile(String),
    /// The build context is invalid.
    #[error(transparent)]
    Context(#[from] ContextError),
}

impl EngineError {
    /// Returns whether an image build failed because of a transient error in pulling a base image.
    pub fn is_transient_base_error(&self) -> bool {
        matches!(self, Self::Refused { message, .. } if base_registry::is_transient(message))
    }

    /// Returns whether the Dockerfile does not exist.
    pub fn is_missing_dockerfile(&self) -> bool {
        matches!(self, Self::Context(ContextError::NoDockerfile(_)))
    }

    /// Converts an error of the client library.
    pub(super) fn new(action: impl Into<String>, error: bollard::errors::Error) -> Self {
        use bollard::errors::Error;
        let action = action.into();
        match error {
            Error::DockerResponseServerError {
                status_code,
                message,
            } => Self::Refused {
                action,
                message: trimmed(&message),
                status: Some(status_code),
            },
            Error::DockerStreamError { error } => Self::Refused {
                action,
                message: trimmed(&error),
                status: None,
            },
            error => Self::Broken {
                action,
                source: innermost(&error).to_string().into(),
            },
        }
    }

    /// Creates an error from the status and message of a response; the message may be empty.
    pub(super) fn from_response(action: &str, status: u16, message: &str) -> Self {
        let message = match trimmed(message) {
            message if message.is_empty() => "no reason given".to_owned(),
            message => message,
        };
        Self::Refused {
            action: action.to_owned(),
            message,
            status: Some(status),
        }
    }

    /// Converts an error inside a stream, which may have no message.
    pub(super) fn refused(action: impl Into<String>, detail: bollard::models::ErrorDetail) -> Self {
        let reason = detail.message.as_deref().map(trimmed);
        Self::Refused {
            action: action.into(),
            message: reason.unwrap_or_else(|| "no reason given".to_owned()),
            status: None,
        }
    }

    /// Creates an error from a message of BuildKit.
    pub(super) fn refused_with(action: impl Into<String>, reason: &str) -> Self {
        Self::Refused {
            action: action.into(),
            message: trimmed(reason),
            status: None,
        }
    }

    /// Returns whether the engine lacks a part of an image that it should push.
    pub(super) fn is_missing_content(&self) -> bool {
        matches!(self, Self::Refused { message, .. } if message.starts_with("missing content: "))
    }

    /// Returns whether another build exported the same unnamed image concurrently, which the containerd image store
    /// rejects.
    pub(super) fn is_simultaneous_export(&self) -> bool {
        let Self::Refused { message, .. } = self else {
            return false;
        };
        message.contains("moby-dangling@") && message.contains("already exists")
    }

    /// Returns whether BuildKit's cache lists a step but no longer has its files, which happens if a build that ran the
    /// same step was canceled.
    pub(super) fn is_missing_snapshot(&self) -> bool {
        let Self::Refused { message, .. } = self else {
            return false;
        };
        // The error of an instruction ends with its exit code.
        message.contains(": snapshot ") && message.ends_with(" does not exist: not found")
    }

    /// Returns whether another process set the same tag at the same moment. The containerd image store removes a tag
    /// and creates it again, and fails if it exists by then, or if it was removed again.
    pub(super) fn is_concurrent_tag(&self) -> bool {
        let Self::Refused { message, .. } = self else {
            return false;
        };
        let (deleted, created) = (
            "after deleting the existing one",
            "but accessing it also failed",
        );
        message.contains("already exists")
            && (message.contains(deleted) || message.contains(created))
    }

    /// Returns the HTTP status of a rejected request.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { status, .. } => *status,
            _ => None,
        }
    }
}

/// Returns the message in the JSON body of an error response: its `message`, or its `error` with Podman.
pub(super) fn response_message(body: &str) -> Option<String> {
    let body: serde_json::Value = serde_json::from_str(body).ok()?;
    let message = body.get("message").or_else(|| body.get("error"))?;
    message.as_str().map(str::to_owned)
}

/// Returns a message without line end and without the prefixes of internal stages.
fn trimmed(message: &str) -> String {
    let in_body = response_message(message);
    let mut message = in_body.as_deref().unwrap_or(message).trim();
    for stage in [
        "failed to solve with frontend dockerfile.v0: ",
        "failed to solve: ",
        "failed to create LLB definition: ",
    ] {
        message = message.strip_prefix(stage).unwrap_or(message);
    }
    message.to_owned()
}

impl Diagnostic for EngineError {
    fn exit(&self) -> Exit {
        match self {
            Self::Unreachable { .. }
            | Self::TooOld { .. }
            | Self::NoHolder(_)
            | Self::UnknownEnd(_)
            | Self::Stalled { .. }
            | Self::Broken { .. }
            | Self::Output(_) => Exit::Outside,
            Self::Address(_) | Self::Tls(_) => Exit::Usage,
            Self::DockerContext(error) => error.exit(),
            Self::Refused { message, .. }
                if is_access(message)
                    || is_out_of_networks(message)
                    || base_registry::is_the_cause(message) =>
            {
                Exit::Outside
            }
            Self::Refused { .. }
            | Self::PartialImage { .. }
            | Self::PushedInstead { .. }
            | Self::NoShell { .. }
            | Self::NoEntrypoint(_)
            | Self::ContainerGone
            | Self::NotStarted(_)
            | Self::Unsent(_)
            | Self::Unwritten { .. }
            | Self::ContextFile(_)
            | Self::Context(_) => Exit::ServiceFailed,
        }
    }

    fn lost_engine(&self) -> bool {
        match self {
            Self::Broken { .. } | Self::ContainerGone => true,
            // BuildKit was stopped, or lost its connection.
            Self::Refused { message, .. } => {
                let message = message.to_lowercase();
                ["context canceled", "transport is closing", "unavailable"]
                    .iter()
                    .any(|word| message.contains(word))
                    && !base_registry::is_of_instruction(&message)
            }
            _ => false,
        }
    }

    fn hints(&self) -> Vec<String> {
        let hint = match self {
            Self::Unreachable { address, source } => {
                let cause = crate::base::error::chain(source.as_ref()).to_lowercase();
                if address.starts_with("ssh://") {
                    ssh::hint(address, &cause)
                } else if cause.contains("permission denied") {
                    format!("you do not have permission to use {address}: add yourself to the group that owns it, or use a rootless engine")
                } else if cause.contains("certificate") {
                    "ca.pem must be from the authority that signed the engine's certificate, and cert.pem from one that the engine trusts".to_owned()
                } else {
                    "is it running? `DOCKER_HOST` or `docker context use` selects another engine, such as unix:///path/docker.sock or ssh://user@host".to_owned()
                }
            }
            Self::Address(_) => {
                "set DOCKER_HOST to unix:///path/docker.sock, tcp://host:port or ssh://user@host".to_owned()
            }
            Self::DockerContext(error) => return error.hints(),
            Self::Tls(_) => {
                "`DOCKER_CERT_PATH`, which defaults to ~/.docker, must contain ca.pem, cert.pem and key.pem; for a docker context, set them with `docker context create`".to_owned()
            }
            Self::PartialImage { image, .. } => {
                format!("pull all of its platforms with `docker pull --platform`, or remove it with `docker image rm {image}` and build it again")
            }
            Self::PushedInstead { image, .. } => {
                format!("remove it from the engine with `docker image rm {image}`, and build it again with `xp build --force`")
            }
            Self::TooOld { .. } => "update it to Docker Engine 20.10 or later".to_owned(),
            Self::NoShell { .. } => "use an image with a shell, such as one based on debian or alpine".to_owned(),
            Self::ContainerGone => {
                "it was removed, ran out of memory (`dockerBuilder.memory`), or the engine was restarted".to_owned()
            }
            Self::Refused { message, .. } if is_access(message) => {
                "log in to the registry with `docker login`, or request access to the repository".to_owned()
            }
            Self::Refused { message, .. } if message.contains("http: server gave HTTP response to HTTPS client") => {
                "the registry uses plain HTTP: add it to `insecure-registries` in the configuration of the engine".to_owned()
            }
            Self::Refused { message, .. } if message.starts_with("unsupported: ") => {
                "the registry may be in read-only mode".to_owned()
            }
            Self::Broken { .. } => {
                "the engine may have stopped: start it, and run xp again".to_owned()
            }
            Self::ContextFile(_) => {
                "if a script created it, change its mode at the end of the script, or add it to .dockerignore".to_owned()
            }
            Self::Refused { message, .. }
                if message.contains("catatonit") || message.contains("container-init binary") =>
            {
                "Podman needs `catatonit` as the init process of a container: install the package of that name"
                    .to_owned()
            }
            Self::Refused { message, .. } if message.contains("bind source path does not exist") => {
                "the engine cannot see the folders of this machine: set `XP_REMOTE_ENGINE=1` to send it the files".to_owned()
            }
            Self::Stalled { .. } => {
                "the registry or a proxy in front of it may be hanging; set XP_TRANSFER_TIMEOUT=30m to wait longer".to_owned()
            }
            Self::Unsent(_) => {
                "make it readable, or remove it".to_owned()
            }
            Self::Refused { message, .. } if is_missing_in_context(message) => {
                "the build context has the files of the commit and those created by `scripts`, but no ignored or uncommitted files, and none listed in .dockerignore".to_owned()
            }
            Self::Refused { message, .. } if is_out_of_networks(message) => {
                "an engine has addresses for about 30 networks by default: remove unused ones with `docker network prune`, use fewer `--jobs`, or set `default-address-pools` in the configuration of the engine".to_owned()
            }
            Self::Refused { message, .. } if message.contains("no space left on device") => {
                "free some space, for example with `docker system prune`".to_owned()
            }
            _ => return Vec::new(),
        };
        match self {
            // It looks for other sockets and for missing permissions.
            Self::Unreachable { .. } => {
                vec![hint, "run `xp doctor` to diagnose the problem".to_owned()]
            }
            _ => vec![hint],
        }
    }
}

/// Returns whether a message of BuildKit or the classic builder is about a file that the Dockerfile copies but the
/// context does not have.
fn is_missing_in_context(message: &str) -> bool {
    let of_buildkit = message.contains("failed to compute cache key")
        || message.contains("failed to calculate checksum");
    of_buildkit && message.ends_with("not found")
        || message.starts_with("COPY failed: ") && message.contains("no such file or directory")
        || message.starts_with("COPY failed: ")
            && message.contains("file not found in build context")
}

/// Returns whether the engine has no range of addresses for another network.
fn is_out_of_networks(message: &str) -> bool {
    let of_docker = message.contains("non-overlapping IPv4 address pool")
        || message.contains("all predefined address pools have been fully subnetted");
    of_docker || message.contains("could not find free subnet")
}

/// Returns whether a message is about credentials or permissions.
fn is_access(message: &str) -> bool {
    let message = message.to_lowercase();
    [
        "unauthorized",
        "authentication required",
        "no basic auth",
        "denied",
        "forbidden",
    ]
    .iter()
    .any(|word| message.contains(word))
        && !message.contains("permission denied")
        && !base_registry::is_of_instruction(&message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_of_a_json_body_is_shown() {
        let shown = |body: &str| EngineError::from_response("push a", 500, body).to_string();
        assert_eq!(
            shown(r#"{"message":"denied"}"#),
            "the engine cannot push a: denied"
        );
        let podman = r#"{"errorDetail":{"message":"denied"},"error":"denied"}"#;
        assert_eq!(shown(podman), "the engine cannot push a: denied");
        assert_eq!(shown("denied\n"), "the engine cannot push a: denied");
        assert_eq!(shown(""), "the engine cannot push a: no reason given");
    }

    #[test]
    fn setting_a_tag_is_retried_after_a_concurrent_change() {
        let is_concurrent =
            |reason: &str| EngineError::refused_with("tag a as b", reason).is_concurrent_tag();
        assert!(is_concurrent(
            "failed to create image b after deleting the existing one: AlreadyExists: image \"b\": already exists"
        ));
        assert!(is_concurrent(
            "creating image b failed because it already exists, but accessing it also failed: No such image: b"
        ));
        assert!(!is_concurrent("No such image: a"));
        assert!(!is_concurrent("image b already exists"));
    }

    #[test]
    fn words_of_a_failed_instruction_mean_nothing() {
        let failed = |reason: &str| EngineError::refused_with("build a", reason);
        for command in [
            "./gradlew checkForbiddenApis",
            "grep denied log",
            "echo unavailable",
        ] {
            for reason in [
                format!(
                    "process \"/bin/sh -c {command}\" did not complete successfully: exit code: 1"
                ),
                format!("executor failed running [/bin/sh -c {command}]: exit code: 1"),
                format!("The command '/bin/sh -c {command}' returned a non-zero code: 1"),
            ] {
                let error = failed(&reason);
                assert_eq!(error.exit(), Exit::ServiceFailed, "{reason}");
                assert!(error.hints().is_empty() && !error.lost_engine(), "{reason}");
            }
        }
        let refused = failed("pull access denied for a, repository does not exist");
        assert_eq!(refused.exit(), Exit::Outside);
    }

    #[test]
    fn a_missing_snapshot_is_not_confused_with_the_error_of_an_instruction() {
        let is_missing =
            |reason: &str| EngineError::refused_with("build a", reason).is_missing_snapshot();
        assert!(is_missing(
            "failed to commit 8rd to wwf during finalize: failed to stat active key during commit: snapshot 8rd does \
             not exist: not found"
        ));
        assert!(is_missing(
            "failed to solve: failed to read dockerfile: failed to mount lhz: snapshot lhz does not exist: not found"
        ));
        assert!(!is_missing("failed to read dockerfile: no such file"));
        assert!(!is_missing(
            "process \"/bin/sh -c echo a: snapshot b does not exist: not found\" did not complete successfully: exit \
             code: 1"
        ));
    }
}
