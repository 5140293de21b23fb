//! Why a step did not come to its end.

use super::secrets::Mask;
use crate::client::engine::Engine;
use crate::error::{Diagnostic, Exit, chain};
use crate::event::{FailedStep, Phase};
use crate::plan::ScriptStep;

/// Why a step did not come to its end.
pub enum Stop {
    /// It failed.
    Failed(StepError),
    /// Everything is to stop.
    Cancelled,
}

/// What failed in a step.
#[derive(Debug)]
pub struct StepError {
    message: String,
    hints: Vec<String>,
    outside: bool,
    line: Option<usize>,
    /// Whether it may have failed for want of the engine.
    lost_engine: bool,
    /// Whether it did.
    is_without_engine: bool,
    /// Whether a registry may have refused to move a tag that it has.
    may_keep_tag: bool,
    /// Whether an image that was built has to be built again, from another image.
    is_superseded: bool,
}

impl StepError {
    /// Returns the failure of a step of that phase, which that command repeats.
    pub fn in_phase(self, phase: Phase, by_hand: Option<String>) -> FailedStep {
        let outside = match phase {
            // A push belongs to the service, whoever refuses it.
            Phase::Push | Phase::Tag => self.is_without_engine,
            // What is pulled was made by somebody else.
            Phase::Pull => true,
            _ => self.outside,
        };
        FailedStep {
            phase,
            message: self.message,
            hints: self.hints,
            outside,
            line: self.line,
            by_hand,
        }
    }

    /// Returns an error without a cause that an error type knows.
    pub fn plain(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hints: Vec::new(),
            outside: false,
            line: None,
            lost_engine: false,
            is_without_engine: false,
            may_keep_tag: false,
            is_superseded: false,
        }
    }

    /// Returns the error of an image that was built from one which no longer counts.
    pub fn superseded(self) -> Self {
        Self {
            is_superseded: true,
            ..self
        }
    }

    /// Whether an image that was built has to be built again, from another image.
    pub fn is_superseded(&self) -> bool {
        self.is_superseded
    }

    /// Whether a registry may have refused to move a tag that it has.
    pub fn may_keep_tag(&self) -> bool {
        self.may_keep_tag
    }

    /// Returns what happened, without what to do about it.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Returns the error without values that are to be hidden.
    pub fn masked(mut self, mask: &Mask) -> Self {
        self.message = mask.text(&self.message);
        self
    }

    /// Returns the error with what a person can do about it.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Says which engine has gone, where it was in the middle of the step and does not answer any more: whatever
    /// failed then did so for want of it.
    pub async fn with_engine(mut self, engine: &Engine) -> Self {
        if !self.lost_engine {
            return self;
        }
        if engine.answers().await {
            // It may have been started again by now; what was killed in it has a hint of its own.
            if self.line.is_none() {
                self.hints.push(format!(
                    "if the container engine at {} was restarted, run xp again",
                    engine.address()
                ));
            }
        } else {
            self.message = format!(
                "the container engine at {} stopped in the middle of it: {}",
                engine.address(),
                self.message
            );
            self.hints = vec![
                "start it, and run xp again: what was finished by then is not done again"
                    .to_owned(),
            ];
            self.outside = true;
            self.is_without_engine = true;
        }
        self
    }

    /// Returns the error of a script's line that did not exit with 0.
    pub fn script(step: &ScriptStep, code: i64) -> Self {
        let mut lines = step.text.trim().lines();
        let first = lines.next().unwrap_or_default();
        let more = if lines.next().is_some() { " …" } else { "" };
        let line = step.line;
        let mut error = Self::plain(format!(
            "`{first}{more}` exited with {code} (line {line} of the manifest)"
        ));
        error.line = Some(line);
        // An engine that stops ends its containers first.
        error.lost_engine = matches!(code, 137 | 143);
        match code {
            126 => error
                .hints
                .push("126: it was found, but may not be executed".to_owned()),
            127 => error
                .hints
                .push("127: a command of it is not in the builder image".to_owned()),
            137 => error
                .hints
                .push("137: it was killed, perhaps for want of memory".to_owned()),
            _ => {}
        }
        error
    }
}

impl<E: Diagnostic> From<E> for StepError {
    fn from(error: E) -> Self {
        Self {
            message: chain(&error),
            hints: error.hints(),
            outside: error.exit() == Exit::Outside,
            line: None,
            lost_engine: error.lost_engine(),
            is_without_engine: false,
            may_keep_tag: error.may_keep_tag(),
            is_superseded: false,
        }
    }
}

impl From<StepError> for Stop {
    fn from(error: StepError) -> Self {
        Self::Failed(error)
    }
}
