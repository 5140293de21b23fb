//! Errors of `kubectl` and `kustomize`.

use std::fmt;
use std::io;

use thiserror::Error;

use crate::base::error::{Diagnostic, Exit};
use crate::client::engine::EngineError;

/// `kubectl` or `kustomize` failed.
#[derive(Debug, Error)]
pub enum KubectlError {
    /// The program is not installed.
    #[error("`{0}` not found")]
    NoProgram(&'static str),
    /// The program cannot be run.
    #[error("failed to run `{name}`")]
    NotRun {
        /// Its name.
        name: &'static str,
        /// The cause.
        source: io::Error,
    },
    /// The container in which it runs failed.
    #[error("failed to run `{name}` in its container")]
    Container {
        /// Its name.
        name: &'static str,
        /// The cause.
        source: Box<EngineError>,
    },
    /// The program reported an error.
    #[error("cannot {action}{}", MessageLines(lines))]
    Failed {
        /// The action, such as `apply`.
        action: String,
        /// The lines of the message, without secrets.
        lines: Vec<String>,
    },
}

/// The kind of error that the program reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KubectlErrorKind {
    /// The object was changed concurrently.
    Changed,
    /// Fields of the object have another owner.
    Owned,
    /// The user lacks the permission.
    Forbidden,
    /// The cluster does not respond.
    Unreachable,
    /// The namespace does not exist.
    NoNamespace,
    /// Anything else.
    Other,
}

impl KubectlErrorKind {
    /// Returns whether the cluster has certainly not done what was requested.
    pub const fn is_refusal(self) -> bool {
        match self {
            Self::Changed | Self::Owned | Self::Forbidden | Self::NoNamespace => true,
            Self::Unreachable | Self::Other => false,
        }
    }
}

impl KubectlError {
    /// Returns the kind of error.
    pub fn kind(&self) -> KubectlErrorKind {
        let Self::Failed { lines, .. } = self else {
            return KubectlErrorKind::Other;
        };
        let has = |words: &[&str]| {
            lines
                .iter()
                .any(|line| words.iter().any(|word| line.contains(word)))
        };
        if has(&["conflict with \"", "conflicts with \"", "Apply failed with"]) {
            KubectlErrorKind::Owned
        } else if has(&["Conflict: ", "AlreadyExists: "]) {
            KubectlErrorKind::Changed
        } else if has(&["Forbidden: ", "Unauthorized", "must be logged in"]) {
            KubectlErrorKind::Forbidden
        } else if has(&["namespaces \""]) && has(&["NotFound: "]) {
            KubectlErrorKind::NoNamespace
        } else if has(&[
            "onnection to the server",
            "connect to the server",
            "connection refused",
            "no such host",
            "i/o timeout",
            "TLS handshake timeout",
            "context deadline exceeded",
            "connection reset",
            "EOF",
        ]) {
            KubectlErrorKind::Unreachable
        } else {
            KubectlErrorKind::Other
        }
    }
}

impl Diagnostic for KubectlError {
    fn exit(&self) -> Exit {
        Exit::Outside
    }

    fn hints(&self) -> Vec<String> {
        let hint = match self.kind() {
            KubectlErrorKind::Owned => {
                "take over these fields with `--force-conflicts`, or remove them from the kustomize files to leave them to their owner"
            }
            KubectlErrorKind::Forbidden => {
                "`kubectl auth can-i --list` lists what the user of this context may do"
            }
            KubectlErrorKind::Unreachable => {
                "run `kubectl cluster-info` with the same context for details"
            }
            KubectlErrorKind::NoNamespace => "create it with `kubectl create namespace`",
            KubectlErrorKind::Changed | KubectlErrorKind::Other => match self {
                Self::Container { source, .. } => return source.hints(),
                _ => return Vec::new(),
            },
        };
        vec![hint.to_owned()]
    }
}

/// The lines below a message; a single line follows it directly.
struct MessageLines<'a>(&'a [String]);

impl fmt::Display for MessageLines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [line] => write!(f, ": {line}"),
            lines => lines.iter().try_for_each(|line| write!(f, "\n  {line}")),
        }
    }
}
