//! Errors and cancellation of steps.

use std::time::Duration;

use crate::base::error::{Diagnostic, Exit, chain};
use crate::base::redact::Redactor;
use crate::base::units;
use crate::client::engine::Engine;
use crate::model::event::{DockerfileLine, FailedStep, Phase};
use crate::model::plan::{PluginStep, ScriptStep};

/// Why a step did not finish.
pub enum Stop {
    Failed(StepError),
    /// The run was canceled.
    Cancelled,
}

/// The error of a step.
#[derive(Debug)]
pub struct StepError {
    message: String,
    hints: Vec<String>,
    outside: bool,
    line: Option<usize>,
    dockerfile: Option<Box<DockerfileLine>>,
    /// The sidecar that failed.
    sidecar: Option<String>,
    /// May have been caused by losing the engine.
    lost_engine: bool,
    /// Was caused by losing the engine.
    is_without_engine: bool,
    /// The registry may have refused only to move an existing tag.
    may_refuse_tag_move: bool,
    /// The image must be rebuilt, because a needed image was replaced.
    is_superseded: bool,
}

impl StepError {
    /// Returns the failure of a step in a phase; `reproduce_command` is the command that reproduces it.
    pub fn in_phase(self, phase: Phase, reproduce_command: Option<String>) -> FailedStep {
        let outside = match phase {
            // A rejected push is the service's failure.
            Phase::Push | Phase::Tag => self.is_without_engine,
            // A pulled image was built elsewhere.
            Phase::Pull => true,
            _ => self.outside,
        };
        FailedStep {
            hints: self.hints,
            outside,
            line: self.line,
            dockerfile: self.dockerfile,
            sidecar: self.sidecar,
            reproduce_command,
            ..FailedStep::new(phase, self.message)
        }
    }

    /// Returns an error from a message.
    pub fn plain(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hints: Vec::new(),
            outside: false,
            line: None,
            dockerfile: None,
            sidecar: None,
            lost_engine: false,
            is_without_engine: false,
            may_refuse_tag_move: false,
            is_superseded: false,
        }
    }

    /// Marks the error as caused by a needed image that was replaced.
    pub fn superseded(self) -> Self {
        Self {
            is_superseded: true,
            ..self
        }
    }

    /// Returns whether the image must be rebuilt, because a needed image was replaced.
    pub fn is_superseded(&self) -> bool {
        self.is_superseded
    }

    /// Returns whether the registry may have refused only to move an existing tag.
    pub fn may_refuse_tag_move(&self) -> bool {
        self.may_refuse_tag_move
    }

    /// Marks the error as caused by something outside, such as a server.
    pub fn outside(self) -> Self {
        Self {
            outside: true,
            ..self
        }
    }

    /// Returns whether something outside caused it.
    pub fn is_outside(&self) -> bool {
        self.outside
    }

    /// Returns the hints.
    pub fn into_hints(self) -> Vec<String> {
        self.hints
    }

    /// Returns the message, without hints.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Redacts secrets in the message.
    pub fn redacted(mut self, redactor: &Redactor) -> Self {
        self.message = redactor.text(&self.message);
        self
    }

    /// Adds the instruction of the Dockerfile that failed.
    pub fn at(mut self, instruction: Option<DockerfileLine>) -> Self {
        self.dockerfile = instruction.map(Box::new);
        self
    }

    /// Names the sidecar that failed, whose log has the details.
    pub fn of_sidecar(mut self, name: &str) -> Self {
        self.sidecar = Some(name.to_owned());
        self
    }

    /// Returns the error of a container beside the scripts that ended by itself.
    pub fn ended(subject: &str, code: Option<i64>, after: Duration) -> Self {
        let ended = match code {
            Some(code) => format!("exited with {code}"),
            None => "ended".to_owned(),
        };
        let after = units::elapsed(after);
        let mut error = Self::plain(format!("{subject} {ended} after {after}"));
        // A stopping engine ends its containers first.
        error.lost_engine = matches!(code, None | Some(137 | 143));
        error
    }

    /// Adds a prefix to the message.
    pub fn prefixed(mut self, prefix: &str) -> Self {
        self.message = format!("{prefix}{}", self.message);
        self
    }

    /// Adds a hint.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Reports the engine as the cause if it was lost during the step.
    pub async fn with_engine(mut self, engine: &Engine) -> Self {
        if !self.lost_engine {
            return self;
        }
        if engine.is_responsive().await {
            // The engine may have been restarted since; a killed script has its own hint.
            if self.line.is_none() {
                self.hints.push(format!(
                    "if the container engine at {} was restarted, run xp again",
                    engine.address()
                ));
            }
        } else {
            self.message = format!(
                "the container engine at {} stopped during this step: {}",
                engine.address(),
                self.message
            );
            self.hints = vec!["start it and run xp again; finished work is kept".to_owned()];
            self.outside = true;
            self.is_without_engine = true;
        }
        self
    }

    /// Returns the error of a script line with a nonzero exit code.
    pub fn script(step: &ScriptStep, code: i64) -> Self {
        let mut lines = step.text.trim().lines();
        let first = lines.next().unwrap_or_default();
        let more = if lines.next().is_some() { " …" } else { "" };
        let mut error = Self::plain(format!("`{first}{more}` exited with {code}"))
            .in_manifest(&step.file, step.line)
            .of_exit_code(code);
        match code {
            126 => error
                .hints
                .push("126: command found, but not executable".to_owned()),
            127 => error
                .hints
                .push("127: command not found in the builder image".to_owned()),
            _ => {}
        }
        error
    }

    /// Returns the error of a plugin with a nonzero exit code.
    pub fn plugin(step: &PluginStep, code: i64) -> Self {
        Self::plain(format!("the plugin {} exited with {code}", step.item.image))
            .in_manifest(&step.file, step.item.line)
            .of_exit_code(code)
    }

    /// Adds what an exit code says about the container.
    fn of_exit_code(mut self, code: i64) -> Self {
        // A stopping engine ends its containers first.
        self.lost_engine = matches!(code, 137 | 143);
        if code == 137 {
            self.hints
                .push("137: killed, possibly because it ran out of memory".to_owned());
        }
        self
    }

    /// Adds the position in the manifest.
    pub fn in_manifest(mut self, file: &str, line: usize) -> Self {
        self.message = format!("{} ({file}:{line})", self.message);
        self.line = Some(line);
        self
    }

    /// Marks the error as caused by something external, as the plugin reported.
    pub fn caused_outside(mut self) -> Self {
        self.outside = true;
        self.hint(
            "3: something outside did not respond or refused; the end of its log has the details",
        )
    }
}

impl<E: Diagnostic> From<E> for StepError {
    fn from(error: E) -> Self {
        Self {
            message: chain(&error),
            hints: error.hints(),
            outside: error.exit() == Exit::Outside,
            line: None,
            dockerfile: None,
            sidecar: None,
            lost_engine: error.lost_engine(),
            is_without_engine: false,
            may_refuse_tag_move: error.may_refuse_tag_move(),
            is_superseded: false,
        }
    }
}

impl From<StepError> for Stop {
    fn from(error: StepError) -> Self {
        Self::Failed(error)
    }
}
