//! Errors of git remotes and working copies.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use super::unsupported::unsupported;
use crate::base::error::{Diagnostic, Exit};
use crate::base::units;
use crate::client::retry::TransientFailure;
use crate::model::source::{GitScheme, GitUrl};

/// A failed operation on a remote or a repository: `Display` says what failed, `source()` why.
#[derive(Debug, Clone, Error)]
#[error("{what}")]
pub struct GitError {
    kind: GitErrorKind,
    what: String,
    hint: Option<String>,
    transient: bool,
    retry_after: Option<Duration>,
    #[source]
    cause: Option<SharedCause>,
}

/// The kinds of failures that callers distinguish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GitErrorKind {
    /// No connection: unknown host, refused, timed out, or lost.
    Unreachable,
    /// The server requires credentials, or rejected those that were sent.
    Authentication,
    /// The host's ssh key or certificate is unknown or has changed.
    HostKey,
    /// The server reports that the repository does not exist.
    NotFound,
    /// The remote does not serve a commit.
    MissingCommit,
    /// The server refused the request for another reason.
    Refused,
    /// The server's response is invalid.
    Protocol,
    /// A local problem: a file, a broken repository, a missing program.
    Local,
    /// The run was interrupted.
    Cancelled,
}

/// The cause of an error; reference-counted because several services can share one error.
#[derive(Clone)]
struct SharedCause(Arc<dyn StdError + Send + Sync>);

impl fmt::Debug for SharedCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for SharedCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl StdError for SharedCause {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source()
    }
}

impl Diagnostic for GitError {
    fn exit(&self) -> Exit {
        if self.kind == GitErrorKind::Cancelled {
            Exit::Interrupted
        } else {
            Exit::Outside
        }
    }

    fn hints(&self) -> Vec<String> {
        self.hint().map(str::to_owned).into_iter().collect()
    }
}

impl GitError {
    /// Returns the kind of failure.
    pub fn kind(&self) -> GitErrorKind {
        self.kind
    }

    /// Returns whether another process has locked a reference or the index.
    pub fn is_locked(&self) -> bool {
        let cause = self.cause.as_ref();
        let cause = cause.and_then(|cause| cause.0.downcast_ref::<git2::Error>());
        cause.is_some_and(|cause| cause.code() == git2::ErrorCode::Locked)
    }

    /// Returns a hint on how to fix it.
    pub fn hint(&self) -> Option<&str> {
        let for_kind = match self.kind {
            GitErrorKind::Unreachable => Some(
                "check the address, and whether its host is only reachable through a VPN or a proxy",
            ),
            _ => None,
        };
        self.hint.as_deref().or(for_kind)
    }

    pub(super) fn new(kind: GitErrorKind, what: impl Into<String>) -> Self {
        Self {
            kind,
            what: what.into(),
            hint: None,
            transient: false,
            retry_after: None,
            cause: None,
        }
    }

    pub(super) fn with_kind(mut self, kind: GitErrorKind) -> Self {
        self.kind = kind;
        self
    }

    pub(super) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Marks the error as transient: a retry may succeed.
    pub(super) fn transient(mut self) -> Self {
        self.transient = true;
        self
    }

    /// Marks the error as transient, with the delay that the server requested.
    pub(super) fn transient_after(mut self, retry_after: Option<Duration>) -> Self {
        self.retry_after = retry_after;
        self.transient()
    }

    /// Returns the failure if it is transient.
    pub(super) fn transient_failure(&self) -> Option<TransientFailure> {
        let why = self
            .cause
            .as_ref()
            .map_or(self.what.clone(), |cause| cause.to_string());
        self.transient.then_some(TransientFailure {
            why,
            retry_after: self.retry_after,
        })
    }

    pub(super) fn because(mut self, cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.cause = Some(SharedCause(Arc::from(cause.into())));
        self
    }

    /// Wraps the error with the operation that failed; kind and hint are kept.
    pub(super) fn context(self, what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            kind: self.kind,
            hint: self.hint.clone(),
            transient: self.transient,
            retry_after: self.retry_after,
            cause: Some(SharedCause(Arc::new(self))),
        }
    }

    /// Returns the error for a remote that cannot be connected to.
    pub(super) fn unreachable(url: &GitUrl) -> Self {
        Self::new(
            GitErrorKind::Unreachable,
            format!("cannot reach {} for {url}", address(url)),
        )
    }

    /// Returns the error for a connection lost in the middle of a response.
    pub(super) fn connection_lost(url: &GitUrl) -> Self {
        Self::new(
            GitErrorKind::Unreachable,
            format!(
                "{} closed the connection in the middle of its response for {url}",
                address(url)
            ),
        )
        .transient()
    }

    /// Returns the error for a remote that stopped responding.
    pub(super) fn timed_out(url: &GitUrl, timeout: Duration) -> Self {
        Self::new(
            GitErrorKind::Unreachable,
            format!(
                "{} did not respond within {} for {url}",
                address(url),
                units::limit(timeout)
            ),
        )
        .with_hint("set XP_STALL_TIMEOUT=5m to wait longer for a slow server")
        .transient()
    }

    /// Converts a message of the server.
    pub(super) fn from_server(url: &GitUrl, message: &str) -> Self {
        let lower = message.to_ascii_lowercase();
        let missing = [
            "not found",
            "does not appear to be a git repository",
            "no such",
            "not exported",
        ];
        let error = if missing.iter().any(|words| lower.contains(words)) {
            Self::not_found(url)
        } else {
            let message = format!("the server refused the request for {url}");
            Self::new(GitErrorKind::Refused, message)
        };
        error.because(message.to_owned())
    }

    /// Returns the error for a repository that does not exist.
    pub(super) fn not_found(url: &GitUrl) -> Self {
        Self::new(
            GitErrorKind::NotFound,
            format!("no git repository at {url}"),
        )
        .with_hint(
            "check the URL; many servers return this error if you do not have access to the repository",
        )
    }

    /// Returns the error for a response that violates git's protocol.
    pub(super) fn protocol(url: &GitUrl, reason: impl Into<String>) -> Self {
        let reason: String = reason.into();
        Self::new(
            GitErrorKind::Protocol,
            format!("invalid response from {url}"),
        )
        .because(reason)
    }

    /// Returns the error for an interrupted run.
    pub fn interrupted() -> Self {
        Self::new(GitErrorKind::Cancelled, "interrupted")
    }

    /// Returns the error for a local operation that failed in libgit2.
    pub(super) fn local(what: impl Into<String>, cause: git2::Error) -> Self {
        if let Some((why, hint)) = unsupported(cause.message()) {
            return Self::new(GitErrorKind::Local, what)
                .because(why)
                .with_hint(hint);
        }
        if cause.class() == git2::ErrorClass::Filter && cause.message().contains("encoding") {
            let hint = "change `working-tree-encoding` in `.gitattributes`, or remove it; xp supports UTF-16 and UTF-32, \
                        ISO-8859, windows-125x, KOI8-R, IBM866, SHIFT-JIS, CP932, EUC-JP, EUC-KR and GB18030";
            return Self::new(GitErrorKind::Local, what)
                .because(cause.message().to_owned())
                .with_hint(hint);
        }
        let error = match cause.code() {
            git2::ErrorCode::Owner => Self::new(GitErrorKind::Local, what).with_hint(
                "the folder belongs to another user; to trust it, run `git config --global --add safe.directory <folder>`",
            ),
            git2::ErrorCode::Locked => Self::new(GitErrorKind::Local, what).with_hint(
                "another git process is running there, or one was killed and left its `.lock` file behind: if so, remove the file",
            ),
            _ => Self::new(GitErrorKind::Local, what),
        };
        error.because(cause.message().to_owned())
    }

    /// Returns the error for a failed file operation.
    pub(super) fn file(what: impl Into<String>, cause: std::io::Error) -> Self {
        Self::new(GitErrorKind::Local, what).because(cause)
    }
}

/// Returns host and port for messages, with the scheme's default port if the URL has none.
pub(super) fn address(url: &GitUrl) -> String {
    let port = url.port().or(match url.scheme() {
        GitScheme::Http => Some(80),
        GitScheme::Https => Some(443),
        GitScheme::Git => Some(9418),
        // The port may be set in the user's ssh configuration.
        GitScheme::Ssh | GitScheme::File => None,
    });
    let host = if url.host().contains(':') {
        format!("[{}]", url.host())
    } else {
        url.host().to_owned()
    };
    match port {
        Some(port) => format!("{host}:{port}"),
        None => host,
    }
}
