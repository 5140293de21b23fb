//! What can go wrong with the engine.

use std::error::Error as StdError;

use thiserror::Error;

use crate::error::{Diagnostic, Exit, innermost};
use crate::image::ImageReference;

use super::base_registry;
use super::context::ContextError;
use super::docker_context::DockerContextError;
use super::ssh;

/// An error of the engine, or of the way to it.
#[derive(Debug, Error)]
pub enum EngineError {
    /// The engine does not answer.
    #[error("the container engine at {address} does not answer")]
    Unreachable {
        /// Where it was looked for.
        address: String,
        /// What the system said.
        #[source]
        source: Box<dyn StdError + Send + Sync>,
    },
    /// The address of the engine is none that xp understands.
    #[error("`{0}` is not the address of a container engine")]
    Address(String),
    /// A context of docker's leads to no engine.
    #[error(transparent)]
    DockerContext(#[from] DockerContextError),
    /// The files of TLS are not as they should be.
    #[error("no TLS can be spoken with the container engine: {0}")]
    Tls(String),
    /// The engine is too old.
    #[error("the container engine at {address} speaks API {found}; 1.41 or later is needed")]
    TooOld {
        /// Where it is.
        address: String,
        /// Its version of the API.
        found: String,
    },
    /// The engine refused a request.
    #[error("the engine cannot {action}: {message}")]
    Refused {
        /// What it was asked to do.
        action: String,
        /// What it said.
        message: String,
        /// The status of its answer; none for an error inside a stream.
        status: Option<u16>,
    },
    /// The connection broke.
    #[error("the connection to the engine broke while it was to {action}")]
    Broken {
        /// What it was asked to do.
        action: String,
        /// Why.
        #[source]
        source: Box<dyn StdError + Send + Sync>,
    },
    /// A push or a pull does not go on.
    #[error("the engine cannot {action}: nothing of it moved for {seconds} s")]
    Stalled {
        /// What it was asked to do.
        action: String,
        /// For how long nothing moved.
        seconds: u64,
    },
    /// The image has platforms that the engine does not have.
    #[error(
        "the engine cannot {action}: it has {image} for some of its platforms only, and would push another image in its place"
    )]
    PartialImage {
        /// What it was asked to do.
        action: String,
        /// Which image.
        image: ImageReference,
    },
    /// The engine pushes another image.
    #[error(
        "the engine began to push {digest}, one platform of {image}, in place of the whole image, and was stopped"
    )]
    PushedInstead {
        /// Which image.
        image: ImageReference,
        /// The digest of the other image.
        digest: String,
    },
    /// An image has no shell.
    #[error("the builder image {image} has no /bin/sh, in which scripts run")]
    NoShell {
        /// Which image.
        image: ImageReference,
        /// What starting it said.
        output: String,
    },
    /// A container ended though its work was not done.
    #[error("the builder container ended while its script ran")]
    ContainerGone,
    /// The engine could not start a program in a container.
    #[error("the program cannot be started in the builder container: {0}")]
    NotStarted(String),
    /// What a program printed cannot be written.
    #[error("what the program printed cannot be written")]
    Output(#[source] std::io::Error),
    /// A file that a remote engine is to have cannot be read.
    #[error("the files of the build cannot be sent to the engine: {0}")]
    Unsent(String),
    /// What came back from a remote engine cannot be written.
    #[error("the results of the build cannot be brought back to {}", folder.display())]
    Unwritten {
        /// Where to.
        folder: std::path::PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file of the build context cannot be read.
    #[error("the build context cannot be sent: {0}")]
    ContextFile(String),
    /// The build context cannot be sent.
    #[error(transparent)]
    Context(#[from] ContextError),
}

impl EngineError {
    /// Tells whether an image build ended since an image that it starts from did not come, for a reason that may pass.
    pub fn base_may_come_later(&self) -> bool {
        matches!(self, Self::Refused { message, .. } if base_registry::may_pass(message))
    }

    /// Makes an error of one of the client library's, for something that was to be done.
    pub(super) fn new(action: impl Into<String>, error: bollard::errors::Error) -> Self {
        use bollard::errors::Error;
        let action = action.into();
        match error {
            Error::DockerResponseServerError {
                status_code,
                message,
            } => Self::Refused {
                action,
                message: tidy(&message),
                status: Some(status_code),
            },
            Error::DockerStreamError { error } => Self::Refused {
                action,
                message: tidy(&error),
                status: None,
            },
            error => Self::Broken {
                action,
                source: innermost(&error).to_string().into(),
            },
        }
    }

    /// Returns the error of an answer with that status, which may lack a reason.
    pub(super) fn answered(action: &str, status: u16, message: &str) -> Self {
        let message = match tidy(message) {
            message if message.is_empty() => "it gave no reason".to_owned(),
            message => message,
        };
        Self::Refused {
            action: action.to_owned(),
            message,
            status: Some(status),
        }
    }

    /// Makes an error of one that stood inside a stream, which may lack a reason.
    pub(super) fn refused(action: impl Into<String>, detail: bollard::models::ErrorDetail) -> Self {
        let reason = detail.message.as_deref().map(tidy);
        Self::Refused {
            action: action.into(),
            message: reason.unwrap_or_else(|| "it gave no reason".to_owned()),
            status: None,
        }
    }

    /// Makes an error of a reason that BuildKit gave.
    pub(super) fn refused_with(action: impl Into<String>, reason: &str) -> Self {
        Self::Refused {
            action: action.into(),
            message: tidy(reason),
            status: None,
        }
    }

    /// Returns whether the engine lacks a part of an image that it should push.
    pub(super) fn is_missing_content(&self) -> bool {
        matches!(self, Self::Refused { message, .. } if message.starts_with("missing content: "))
    }

    /// Whether another build exported the same unnamed image at the same moment, which the containerd image store does
    /// not take.
    pub(super) fn is_simultaneous_export(&self) -> bool {
        let Self::Refused { message, .. } = self else {
            return false;
        };
        message.contains("moby-dangling@") && message.contains("already exists")
    }

    /// Returns whether another process set the same tag at the same moment. The containerd image store removes a tag
    /// and creates it again, and fails if it exists by then.
    pub(super) fn is_concurrent_tag(&self) -> bool {
        let Self::Refused { message, .. } = self else {
            return false;
        };
        message.contains("after deleting the existing one") && message.contains("already exists")
    }

    /// Returns the status of the engine's answer, where it refused.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { status, .. } => *status,
            _ => None,
        }
    }
}

/// Returns what a message says, without its line end.
fn tidy(message: &str) -> String {
    let mut message = message.trim();
    // What BuildKit says of its own stages tells nobody anything.
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
            | Self::Stalled { .. }
            | Self::Broken { .. }
            | Self::Output(_) => Exit::Outside,
            Self::Address(_) | Self::Tls(_) => Exit::Usage,
            Self::DockerContext(error) => error.exit(),
            Self::Refused { message, .. }
                if is_access(message) || base_registry::is_the_cause(message) =>
            {
                Exit::Outside
            }
            Self::Refused { .. }
            | Self::PartialImage { .. }
            | Self::PushedInstead { .. }
            | Self::NoShell { .. }
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
            // BuildKit, in its own words: it was told to stop, or its connection broke.
            Self::Refused { message, .. } => {
                let message = message.to_lowercase();
                ["context canceled", "transport is closing", "unavailable"]
                    .iter()
                    .any(|word| message.contains(word))
            }
            _ => false,
        }
    }

    fn hints(&self) -> Vec<String> {
        let hint = match self {
            Self::Unreachable { address, source } => {
                let refused = crate::error::chain(source.as_ref()).to_lowercase();
                if address.starts_with("ssh://") {
                    ssh::hint(address, &refused)
                } else if refused.contains("permission denied") {
                    format!("you may not use {address}: add yourself to the group that owns it, or run rootless")
                } else if refused.contains("certificate") {
                    "ca.pem is to be of the authority that signed the engine's certificate, and cert.pem of one that the engine knows".to_owned()
                } else {
                    "is it started? `DOCKER_HOST` or `docker context use` names another engine, such as unix:///path/docker.sock or ssh://user@host".to_owned()
                }
            }
            Self::Address(_) => {
                "write DOCKER_HOST as unix:///path/docker.sock, tcp://host:port or ssh://user@host".to_owned()
            }
            Self::DockerContext(error) => return error.hints(),
            Self::Tls(_) => {
                "the folder that `DOCKER_CERT_PATH` names, else ~/.docker, is to have ca.pem, cert.pem and key.pem; a context of docker's has them from `docker context create`".to_owned()
            }
            Self::PartialImage { image, .. } => {
                format!("pull all platforms of it with `docker pull --platform`, or remove it with `docker image rm {image}` and build it again")
            }
            Self::PushedInstead { image, .. } => {
                format!("remove it from the engine with `docker image rm {image}`, and build it again with `xp build --force`")
            }
            Self::TooOld { .. } => "update it: Docker Engine 20.10 and later will do".to_owned(),
            Self::NoShell { .. } => "use an image with a shell, such as one based on debian or alpine".to_owned(),
            Self::ContainerGone => {
                "it was removed, ran out of memory (`dockerBuilder.memory`), or the engine was restarted".to_owned()
            }
            Self::Refused { message, .. } if is_access(message) => {
                "log in to the registry with `docker login`, or ask for the right to the repository".to_owned()
            }
            Self::Refused { message, .. } if message.contains("http: server gave HTTP response to HTTPS client") => {
                "the registry speaks plain HTTP: list it under `insecure-registries` of the engine".to_owned()
            }
            Self::Refused { message, .. } if message.starts_with("unsupported: ") => {
                "the registry may be in read-only mode".to_owned()
            }
            Self::Broken { .. } => {
                "the engine may have stopped: start it, and run xp again".to_owned()
            }
            Self::ContextFile(_) => {
                "where a script left it so, change its mode at the end of the script, or name it in .dockerignore".to_owned()
            }
            Self::Refused { message, .. }
                if message.contains("catatonit") || message.contains("container-init binary") =>
            {
                "Podman needs the program `catatonit` for the first process of a container: install the package of that name"
                    .to_owned()
            }
            Self::Refused { message, .. } if message.contains("bind source path does not exist") => {
                "the engine does not see this machine's folders: `XP_REMOTE_ENGINE=1` sends it the files instead".to_owned()
            }
            Self::Stalled { .. } => {
                "the registry may hang, or what is between it and the engine; XP_TRANSFER_TIMEOUT=30m waits longer".to_owned()
            }
            Self::Unsent(_) => {
                "make it readable for yourself, or remove it".to_owned()
            }
            Self::Refused { message, .. } if is_missing_in_context(message) => {
                "the build sees the commit and what `scripts` make of it; a file that is ignored or not committed is not there, nor one that .dockerignore names".to_owned()
            }
            Self::Refused { message, .. } if message.contains("no space left on device") => {
                "free some space, for instance with `docker system prune`".to_owned()
            }
            _ => return Vec::new(),
        };
        match self {
            // It looks for other sockets, and for what keeps the user from this one.
            Self::Unreachable { .. } => vec![hint, "`xp doctor` looks for the reason".to_owned()],
            _ => vec![hint],
        }
    }
}

/// Tells whether a message is about a file that a Dockerfile copies and the context does not have: as
/// BuildKit says it, and as the classic builder does.
fn is_missing_in_context(message: &str) -> bool {
    let of_buildkit = message.contains("failed to compute cache key")
        || message.contains("failed to calculate checksum");
    of_buildkit && message.ends_with("not found")
        || message.starts_with("COPY failed: ") && message.contains("no such file or directory")
        || message.starts_with("COPY failed: ")
            && message.contains("file not found in build context")
}

/// Tells whether a message is about credentials or rights.
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
}
