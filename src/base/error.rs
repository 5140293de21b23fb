//! Errors of commands: exit codes, causes and hints.
//!
//! Each module has its own error type and implements [`Diagnostic`] for it. Pure.

use std::error::Error;
use std::fmt::{self, Write as _};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::base::sanitize::sanitized;
use crate::base::seconds;
use crate::base::units;

/// The exit code of a command; see [`Exit::CODES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    /// 0
    Done,
    /// 1
    ServiceFailed,
    /// 2
    Usage,
    /// 3
    Outside,
    /// 10
    WorkToDo,
    /// 130
    Interrupted,
    /// The exit code of a program in `xp run` or `xp shell`.
    Program(u8),
}

impl Exit {
    /// The exit codes of xp itself and their meanings, for help, manual pages and documentation.
    pub const CODES: [(Self, &str); 6] = [
        (Self::Done, "done"),
        (
            Self::ServiceFailed,
            "a service failed: a script, an image build or a push",
        ),
        (
            Self::Usage,
            "invalid command line or invalid manifest, such as an unknown service or branch",
        ),
        (
            Self::Outside,
            "an external system failed or refused the request: the engine, a registry or a git remote",
        ),
        (
            Self::WorkToDo,
            "there is work to do (`xp plan --exit-code`)",
        ),
        (Self::Interrupted, "interrupted"),
    ];

    /// Returns the exit code of the process.
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::ServiceFailed => 1,
            Self::Usage => 2,
            Self::Outside => 3,
            Self::WorkToDo => 10,
            Self::Interrupted => 130,
            Self::Program(code) => code,
        }
    }
}

// The doc comments of the fields are part of the schema of events.
/// A transient failure that is retried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Retrying {
    /// The host that failed
    pub host: String,
    /// The request, human-readable
    pub request: String,
    /// The error, human-readable
    pub why: String,
    /// The delay before the retry, in seconds
    #[serde(rename = "seconds", with = "seconds")]
    #[schemars(with = "f64")]
    pub wait: Duration,
    /// The number of the next attempt; the first one is 1
    pub attempt: u32,
    /// The maximum number of attempts
    pub attempts: u32,
}

impl fmt::Display for Retrying {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            host,
            request,
            why,
            wait,
            attempt,
            attempts,
        } = self;
        let wait = units::limit(*wait);
        write!(
            f,
            "{host}: {request}: {why}; trying again in {wait} ({attempt} of {attempts})"
        )
    }
}

/// An error with an exit code and hints.
///
/// Error types implement it so that commands can use `?`.
pub trait Diagnostic: Error + Send + Sync + 'static {
    /// Returns the exit code of a command that ends with this error.
    fn exit(&self) -> Exit;

    /// Returns hints, one sentence each.
    fn hints(&self) -> Vec<String> {
        Vec::new()
    }

    /// Returns whether a registry may have refused to move an existing tag. Not all engines report the reason of
    /// a refusal.
    fn may_refuse_tag_move(&self) -> bool {
        false
    }

    /// Returns whether losing the engine may be the cause.
    fn lost_engine(&self) -> bool {
        false
    }
}

/// The error that ends a command.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// The message; `None` if it was already printed.
    message: Option<String>,
}

impl Failure {
    /// Returns a failure with a message that was already printed.
    pub fn silent(exit: Exit) -> Self {
        Self {
            exit,
            message: None,
        }
    }

    /// Returns a usage error.
    pub fn usage(message: impl Into<String>) -> Self {
        Self {
            exit: Exit::Usage,
            message: Some(format!("error: {}", sanitized(&message.into()))),
        }
    }

    /// Returns an error of an external system that has no error type.
    pub fn outside(message: impl Into<String>) -> Self {
        Self {
            exit: Exit::Outside,
            message: Some(format!("error: {}", sanitized(&message.into()))),
        }
    }

    /// Returns a failure with a complete message.
    pub fn rendered(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: Some(message.into()),
        }
    }

    /// Transforms the message, for example to color it.
    pub fn map_message(self, change: impl FnOnce(String) -> String) -> Self {
        Self {
            message: self.message.map(change),
            ..self
        }
    }

    /// Returns the message without its prefix, and the hints.
    pub fn parts(&self) -> (String, Vec<String>) {
        let message = self.message.as_deref().unwrap_or_default();
        let mut parts = message.trim_start_matches("error: ").split("\nhint: ");
        let what = parts.next().unwrap_or_default().to_owned();
        (what, parts.map(str::to_owned).collect())
    }

    /// Returns the message, without a line end.
    pub fn message(&self) -> Option<&str> {
        self.message.as_deref()
    }
}

impl<E: Diagnostic> From<E> for Failure {
    fn from(error: E) -> Self {
        Self {
            exit: error.exit(),
            message: Some(render(&error)),
        }
    }
}

/// Renders an error with its causes and hints.
pub fn render(error: &dyn Diagnostic) -> String {
    let text = format!("error: {}{}", chain(error), hint_lines(&error.hints()));
    sanitized(&text).into_owned()
}

/// Renders hints for appending to a message, one per line.
pub fn hint_lines(hints: &[String]) -> String {
    let lines = hints.iter().map(|hint| format!("\nhint: {hint}"));
    lines.collect()
}

/// Returns the root cause of an error. The outer errors often come from a library, and only report that a request
/// failed.
pub fn innermost<'e>(error: &'e (dyn Error + 'static)) -> &'e (dyn Error + 'static) {
    let mut innermost = error;
    while let Some(cause) = innermost.source() {
        innermost = cause;
    }
    innermost
}

/// Renders an error and its causes, one per line, without causes that are already part of the text.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let message = error.to_string();
        if !text.contains(&message) {
            _ = write!(text, "\n  cause: {message}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the registry does not answer")]
    struct Outer(#[source] Inner);

    #[derive(Debug, thiserror::Error)]
    #[error("connection refused")]
    struct Inner;

    impl Diagnostic for Outer {
        fn exit(&self) -> Exit {
            Exit::Outside
        }
        fn hints(&self) -> Vec<String> {
            vec!["start it".to_owned()]
        }
    }

    #[test]
    fn a_failure_has_error_cause_and_hint_once() {
        let failure = Failure::from(Outer(Inner));
        assert_eq!(failure.exit.code(), 3);
        assert_eq!(
            failure.message(),
            Some(
                "error: the registry does not answer\n  cause: connection refused\nhint: start it"
            )
        );
    }

    #[test]
    fn control_characters_of_servers_are_removed() {
        let message = "no\x1b[2J\u{9b}1A\r\n\tx\u{202e}y";
        assert_eq!(
            Failure::outside(message).message(),
            Some("error: no[2J1A\n\txy")
        );
    }
}
