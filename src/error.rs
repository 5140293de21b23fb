//! How a failure is told: exit codes, causes once, hints.
//!
//! Each module has its own error type; here they meet, at the edge of a command. Pure.

use std::borrow::Cow;
use std::error::Error;
use std::fmt::{self, Write as _};
use std::time::Duration;

/// The exit code of a command, as documented in `xp help`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    /// 0: everything asked for is done.
    Done,
    /// 1: a service failed: a script, an image build or a push.
    ServiceFailed,
    /// 2: wrong usage, or a wrong manifest.
    Usage,
    /// 3: something outside is missing or refuses: the engine, a registry, a git remote.
    Outside,
    /// 10: `--exit-code` was given, and there is something to build.
    WorkToDo,
    /// 130: interrupted.
    Interrupted,
    /// What a program of `xp run` or `xp shell` exited with.
    Program(u8),
}

impl Exit {
    /// Returns the number that the process exits with.
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

/// Something outside failed in a way that may pass, and is tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retrying {
    /// Which host failed.
    pub host: String,
    /// What it was asked.
    pub request: String,
    /// How it failed.
    pub why: String,
    /// After how long it is tried again.
    pub wait: Duration,
    /// Which attempt that will be; the first one is 1.
    pub attempt: u32,
    /// How many there are at most.
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
        let seconds = wait.as_secs_f64();
        write!(
            f,
            "{host}: {request}: {why}; trying again in {seconds:.1}s ({attempt} of {attempts})"
        )
    }
}

/// An error that knows its exit code and what a person can do about it.
///
/// The error types of the modules implement it, so that a command needs only `?`.
pub trait Diagnostic: Error + Send + Sync + 'static {
    /// Returns the exit code of a command that ends with this error.
    fn exit(&self) -> Exit;

    /// Returns what a person can do about it, a sentence each.
    fn hints(&self) -> Vec<String> {
        Vec::new()
    }

    /// Whether a registry may have refused to move a tag that it has. Not every engine passes on why it refused.
    fn may_keep_tag(&self) -> bool {
        false
    }

    /// Tells whether the engine may have gone in the middle of something.
    fn lost_engine(&self) -> bool {
        false
    }
}

/// The error that ends a command.
#[derive(Debug)]
pub struct Failure {
    /// With which code the process exits.
    pub exit: Exit,
    /// What is printed; nothing where everything was said already.
    message: Option<String>,
}

impl Failure {
    /// Returns a failure about which everything was said already.
    pub fn silent(exit: Exit) -> Self {
        Self {
            exit,
            message: None,
        }
    }

    /// Returns a failure of wrong usage.
    pub fn usage(message: impl Into<String>) -> Self {
        Self {
            exit: Exit::Usage,
            message: Some(format!("error: {}", harmless(&message.into()))),
        }
    }

    /// Returns a failure of something outside that no error type knows.
    pub fn outside(message: impl Into<String>) -> Self {
        Self {
            exit: Exit::Outside,
            message: Some(format!("error: {}", harmless(&message.into()))),
        }
    }

    /// Returns a failure whose text is complete.
    pub fn rendered(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: Some(message.into()),
        }
    }

    /// Returns the failure with another text of the same meaning, such as a coloured one.
    pub fn map_message(self, change: impl FnOnce(String) -> String) -> Self {
        Self {
            message: self.message.map(change),
            ..self
        }
    }

    /// Returns what is to be printed, without a line end.
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

/// Returns a text in which nothing moves a terminal's cursor, colours anything or turns text around:
/// servers say what they like. Its lines and tabs stay.
pub fn harmless(text: &str) -> Cow<'_, str> {
    let is_harmful = |c: char| {
        let turns = matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        turns || (c.is_control() && c != '\n' && c != '\t')
    };
    match text.contains(is_harmful) {
        true => Cow::Owned(text.replace(is_harmful, "")),
        false => Cow::Borrowed(text),
    }
}

/// Returns the error, each of its causes once, and the hints.
pub fn render(error: &dyn Diagnostic) -> String {
    let text = format!("error: {}{}", chain(error), hint_lines(&error.hints()));
    harmless(&text).into_owned()
}

/// Returns hints as they follow a message, a line each.
pub fn hint_lines(hints: &[String]) -> String {
    let lines = hints.iter().map(|hint| format!("\nhint: {hint}"));
    lines.collect()
}

/// Returns the innermost cause of an error; those around it are often the layers of a library, which only
/// say that a request failed.
pub fn innermost<'e>(error: &'e (dyn Error + 'static)) -> &'e (dyn Error + 'static) {
    let mut innermost = error;
    while let Some(cause) = innermost.source() {
        innermost = cause;
    }
    innermost
}

/// Returns the error and its causes, a line each, leaving out a cause that its parent repeats.
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
    fn a_failure_tells_error_cause_and_hint_once() {
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
    fn what_a_server_says_moves_no_cursor() {
        let said = "no\x1b[2J\u{9b}1A\r\n\tx\u{202e}y";
        assert_eq!(harmless(said), "no[2J1A\n\txy");
        assert_eq!(
            Failure::outside(said).message(),
            Some("error: no[2J1A\n\txy")
        );
    }
}
