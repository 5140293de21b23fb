//! A check that could not be completed.

use std::time::Duration;

use crate::base::error::{Diagnostic, Exit, Failure, chain};
use crate::base::units;

/// Why a check could not be completed: an error in the form of a finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckFailure {
    /// What failed, and where.
    pub what: String,
    /// Causes, the most direct one first.
    pub causes: Vec<String>,
    /// Possible fixes.
    pub fixes: Vec<String>,
    /// The exit code for the error.
    pub exit: Exit,
}

impl CheckFailure {
    /// Converts an error.
    pub fn of(error: &dyn Diagnostic) -> Self {
        let text = chain(error);
        let mut parts = text.split("\n  cause: ").map(str::to_owned);
        Self {
            what: parts.next().unwrap_or_default(),
            causes: parts.collect(),
            // Omit hints to run `xp doctor`.
            fixes: error
                .hints()
                .into_iter()
                .filter(|hint| !hint.contains("`xp doctor`"))
                .collect(),
            exit: error.exit(),
        }
    }

    /// Converts a failure that was rendered.
    pub fn of_failure(failure: &Failure) -> Self {
        let (what, fixes) = failure.parts();
        Self {
            what,
            causes: Vec::new(),
            fixes,
            exit: failure.exit,
        }
    }

    /// Creates one for a timeout.
    pub fn timeout(what: &str, limit: Duration) -> Self {
        Self {
            what: format!("{what} did not respond within {}", units::limit(limit)),
            causes: Vec::new(),
            fixes: vec![
                "check that it is reachable from here; `--timeout SECONDS` waits longer".to_owned(),
            ],
            exit: Exit::Outside,
        }
    }

    /// Creates one for a query that was skipped because its server did not respond to earlier ones.
    pub fn skipped(what: &str, unanswered: usize) -> Self {
        Self {
            what: format!(
                "{what} was not queried because {unanswered} other requests to the server timed out"
            ),
            ..Self::timeout(what, Duration::ZERO)
        }
    }
}
