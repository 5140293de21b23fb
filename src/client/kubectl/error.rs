//! What goes wrong with a cluster.

use std::fmt;
use std::io;

use thiserror::Error;

use crate::client::engine::EngineError;
use crate::error::{Diagnostic, Exit};

/// A program for clusters failed.
#[derive(Debug, Error)]
pub enum KubectlError {
    /// There is no such program.
    #[error("there is no `{0}`")]
    NoProgram(&'static str),
    /// The program cannot be run.
    #[error("`{name}` cannot be run")]
    NotRun {
        /// Which.
        name: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The container that it was to run in failed.
    #[error("`{name}` cannot be run in its container")]
    Container {
        /// Which.
        name: &'static str,
        /// Why.
        source: Box<EngineError>,
    },
    /// The program says what is wrong.
    #[error("cannot {what}{}", Said(said))]
    Refused {
        /// What was to be done, such as `apply`.
        what: String,
        /// What was said, line by line, without anything secret.
        said: Vec<String>,
    },
}

/// What kind of refusal it is, as far as that matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// Somebody else has written the object meanwhile.
    Changed,
    /// Somebody else owns fields of it.
    Owned,
    /// The user may not do that.
    Forbidden,
    /// The cluster does not answer.
    Unreachable,
    /// The namespace is not there.
    NoNamespace,
    /// Anything else.
    Other,
}

impl KubectlError {
    /// Returns what kind of refusal it is.
    pub fn kind(&self) -> Refused {
        let Self::Refused { said, .. } = self else {
            return Refused::Other;
        };
        let has = |words: &[&str]| {
            said.iter()
                .any(|line| words.iter().any(|word| line.contains(word)))
        };
        if has(&["conflict with \"", "conflicts with \"", "Apply failed with"]) {
            Refused::Owned
        } else if has(&["Conflict: ", "AlreadyExists: "]) {
            Refused::Changed
        } else if has(&["Forbidden: ", "Unauthorized", "must be logged in"]) {
            Refused::Forbidden
        } else if has(&["namespaces \""]) && has(&["NotFound: "]) {
            Refused::NoNamespace
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
            Refused::Unreachable
        } else {
            Refused::Other
        }
    }
}

impl Diagnostic for KubectlError {
    fn exit(&self) -> Exit {
        Exit::Outside
    }

    fn hints(&self) -> Vec<String> {
        let hint = match self.kind() {
            Refused::Owned => {
                "`--force-conflicts` takes these fields over; where somebody else shall keep them, leave them out of the kustomize files"
            }
            Refused::Forbidden => {
                "`kubectl auth can-i --list` says what the user of this context may do"
            }
            Refused::Unreachable => "`kubectl cluster-info` with the same context tells more",
            Refused::NoNamespace => "`kubectl create namespace` makes it",
            Refused::Changed | Refused::Other => match self {
                Self::Container { source, .. } => return source.hints(),
                _ => return Vec::new(),
            },
        };
        vec![hint.to_owned()]
    }
}

/// Lines below a message, or beside it where there is one alone.
struct Said<'a>(&'a [String]);

impl fmt::Display for Said<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [line] => write!(f, ": {line}"),
            lines => lines.iter().try_for_each(|line| write!(f, "\n  {line}")),
        }
    }
}
