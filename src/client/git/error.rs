//! What can go wrong with a git remote or a working copy.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use super::unsupported::unsupported;
use crate::client::retry::Trouble;
use crate::error::{Diagnostic, Exit};
use crate::source::{GitScheme, GitUrl};

/// A remote or a repository could not be used: `Display` says what failed, `source()` why.
#[derive(Debug, Clone, Error)]
#[error("{what}")]
pub struct GitError {
    kind: GitErrorKind,
    what: String,
    hint: Option<String>,
    transient: bool,
    retry_after: Option<Duration>,
    #[source]
    cause: Option<Cause>,
}

/// The kinds of failures that callers tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GitErrorKind {
    /// No connection: no such host, refused, timed out, broken off.
    Unreachable,
    /// The server wants credentials, or refuses those that were sent.
    Authentication,
    /// The host's ssh key or certificate is unknown or another one.
    HostKey,
    /// The server says that there is no such repository.
    NotFound,
    /// The remote does not give out a commit.
    MissingCommit,
    /// The server answered with another refusal.
    Refused,
    /// The server's answer cannot be understood.
    Protocol,
    /// Something on this machine: a file, a broken repository, a missing program.
    Local,
    /// The run was interrupted.
    Cancelled,
}

/// Why something failed; kept behind a reference count as errors are shared by many services.
#[derive(Clone)]
struct Cause(Arc<dyn StdError + Send + Sync>);

impl fmt::Debug for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl StdError for Cause {
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
    /// Returns which kind of failure it is.
    pub fn kind(&self) -> GitErrorKind {
        self.kind
    }

    /// Returns what a person can do about it.
    pub fn hint(&self) -> Option<&str> {
        let of_its_kind = match self.kind {
            GitErrorKind::Unreachable => Some(
                "is the address right, and is its host reached from here, or only by a VPN or a proxy?",
            ),
            _ => None,
        };
        self.hint.as_deref().or(of_its_kind)
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

    pub(super) fn of_kind(mut self, kind: GitErrorKind) -> Self {
        self.kind = kind;
        self
    }

    pub(super) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Says that another attempt may succeed.
    pub(super) fn transient(mut self) -> Self {
        self.transient = true;
        self
    }

    /// Says that another attempt may succeed, after what the server asked for.
    pub(super) fn transient_after(mut self, retry_after: Option<Duration>) -> Self {
        self.retry_after = retry_after;
        self.transient()
    }

    /// Returns what was wrong, where another attempt may succeed.
    pub(super) fn trouble(&self) -> Option<Trouble> {
        let why = self
            .cause
            .as_ref()
            .map_or(self.what.clone(), |cause| cause.to_string());
        self.transient.then_some(Trouble {
            why,
            retry_after: self.retry_after,
        })
    }

    pub(super) fn because(mut self, cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.cause = Some(Cause(Arc::from(cause.into())));
        self
    }

    /// Tells of what greater thing this is a part; kind and hint stay.
    pub(super) fn within(self, what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            kind: self.kind,
            hint: self.hint.clone(),
            transient: self.transient,
            retry_after: self.retry_after,
            cause: Some(Cause(Arc::new(self))),
        }
    }

    /// Makes the error for a remote that no connection can be made to.
    pub(super) fn unreachable(url: &GitUrl) -> Self {
        Self::new(
            GitErrorKind::Unreachable,
            format!("cannot reach {} for {url}", address(url)),
        )
    }

    /// Makes the error for a remote that ended in the middle of its answer.
    pub(super) fn broken_off(url: &GitUrl) -> Self {
        Self::new(
            GitErrorKind::Unreachable,
            format!(
                "{} broke off in the middle of its answer for {url}",
                address(url)
            ),
        )
        .transient()
    }

    /// Makes the error for a remote that fell silent.
    pub(super) fn timed_out(url: &GitUrl, timeout: Duration) -> Self {
        Self::new(
            GitErrorKind::Unreachable,
            format!(
                "{} did not answer within {} s for {url}",
                address(url),
                timeout.as_secs()
            ),
        )
        .with_hint("XP_STALL_TIMEOUT=5m waits longer for a server that is slow to begin")
        .transient()
    }

    /// Makes the error for a remote that has no such repository.
    pub(super) fn not_found(url: &GitUrl) -> Self {
        Self::new(
            GitErrorKind::NotFound,
            format!("there is no git repository at {url}"),
        )
        .with_hint(
            "check the URL; many servers say the same where the user may not see the repository",
        )
    }

    /// Makes the error for an answer that is not git's protocol.
    pub(super) fn protocol(url: &GitUrl, reason: impl Into<String>) -> Self {
        let reason: String = reason.into();
        Self::new(
            GitErrorKind::Protocol,
            format!("the answer of {url} cannot be understood"),
        )
        .because(reason)
    }

    /// Makes the error for an interrupted run.
    pub fn interrupted() -> Self {
        Self::new(GitErrorKind::Cancelled, "interrupted")
    }

    /// Makes the error for something that libgit2 could not do on this machine.
    pub(super) fn local(what: impl Into<String>, cause: git2::Error) -> Self {
        if let Some((why, hint)) = unsupported(cause.message()) {
            return Self::new(GitErrorKind::Local, what)
                .because(why)
                .with_hint(hint);
        }
        if cause.class() == git2::ErrorClass::Filter && cause.message().contains("encoding") {
            let hint = "change `working-tree-encoding` in `.gitattributes`, or leave it out: xp knows UTF-16 and UTF-32, \
                        ISO-8859, windows-125x, KOI8-R, IBM866, SHIFT-JIS, CP932, EUC-JP, EUC-KR and GB18030";
            return Self::new(GitErrorKind::Local, what)
                .because(cause.message().to_owned())
                .with_hint(hint);
        }
        let error = match cause.code() {
            git2::ErrorCode::Owner => Self::new(GitErrorKind::Local, what).with_hint(
                "the folder belongs to another user; `git config --global --add safe.directory <folder>` trusts it",
            ),
            git2::ErrorCode::Locked => Self::new(GitErrorKind::Local, what).with_hint(
                "another git process works there, or one was killed and left its `.lock` file, which may then be removed",
            ),
            _ => Self::new(GitErrorKind::Local, what),
        };
        error.because(cause.message().to_owned())
    }

    /// Makes the error for a file or folder that could not be used.
    pub(super) fn file(what: impl Into<String>, cause: std::io::Error) -> Self {
        Self::new(GitErrorKind::Local, what).because(cause)
    }
}

/// Returns host and port as people name them, with the scheme's own port where the URL has none.
pub(super) fn address(url: &GitUrl) -> String {
    let port = url.port().or(match url.scheme() {
        GitScheme::Http => Some(80),
        GitScheme::Https => Some(443),
        GitScheme::Git => Some(9418),
        // The port of an ssh host may come from the user's ssh configuration.
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
