//! Errors of the cluster's API.

use thiserror::Error;

use crate::base::error::{Diagnostic, Exit};
use crate::client::retry::is_transient_status;

/// A request failed.
#[derive(Debug, Clone, Error)]
pub enum ApiError {
    /// The cluster refused it.
    #[error("cannot {action}: {}", shown(.reason, .message))]
    Refused {
        action: String,
        /// The HTTP status.
        code: u16,
        /// The reason, such as `Forbidden`.
        reason: String,
        /// The message.
        message: String,
    },
    /// The cluster does not respond.
    #[error("cannot {action}: the cluster of the context {context} does not respond: {cause}")]
    Unreachable {
        action: String,
        /// The context of the kubeconfig.
        context: String,
        cause: String,
    },
    /// `kubectl proxy` no longer runs.
    #[error("cannot {action}: {cause}")]
    NoProxy { action: String, cause: String },
}

pub(super) fn shown(reason: &str, message: &str) -> String {
    match (reason, message) {
        ("", message) => message.to_owned(),
        (reason, "") => reason.to_owned(),
        (reason, message) => format!("{reason}: {message}"),
    }
}

impl ApiError {
    /// Returns whether the object does not exist.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { code: 404, .. })
    }

    /// Returns whether the object exists.
    pub fn is_existing(&self) -> bool {
        matches!(self, Self::Refused { code: 409, reason, .. } if reason == "AlreadyExists")
    }

    /// Returns whether the object is being changed or deleted, so that the request may succeed later.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Refused { code: 409, .. })
    }

    /// Returns whether a quota of the namespace is used up.
    pub fn is_quota(&self) -> bool {
        matches!(self, Self::Refused { code: 403, message, .. } if message.contains("exceeded quota"))
    }

    /// Returns whether the user lacks a permission.
    pub fn is_forbidden(&self) -> bool {
        matches!(
            self,
            Self::Refused {
                code: 401 | 403,
                ..
            }
        ) && !self.is_quota()
    }

    /// Returns whether a watch has to start over.
    pub fn is_gone(&self) -> bool {
        matches!(self, Self::Refused { code: 410, .. })
    }

    /// Returns whether the cluster may respond later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Refused { code, .. } => is_transient_status(*code),
            Self::NoProxy { .. } => false,
        }
    }
}

impl Diagnostic for ApiError {
    fn exit(&self) -> Exit {
        Exit::Outside
    }

    fn hints(&self) -> Vec<String> {
        let hint = match self {
            Self::Unreachable { context, .. } => {
                format!("run `kubectl --context {context} cluster-info` for details")
            }
            Self::Refused { code: 401, .. } => {
                "check the credentials of the context with `kubectl auth whoami`".to_owned()
            }
            Self::Refused { code: 404, message, .. } if message.contains("namespaces \"") => {
                "create it with `kubectl create namespace`".to_owned()
            }
            Self::NoProxy { .. } => {
                "run xp again; it reuses the Jobs of this run that succeeded".to_owned()
            }
            _ if self.is_forbidden() => {
                "the Role in docs/fleet.md has the permissions that a fleet needs; `kubectl auth can-i --list` lists yours"
                    .to_owned()
            }
            _ => return Vec::new(),
        };
        vec![hint]
    }
}
