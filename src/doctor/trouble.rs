//! Why something could not be found out, as data.

use std::time::Duration;

use crate::error::{Diagnostic, Exit, chain};

/// An error as a finding takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// What failed, and where.
    pub what: String,
    /// Why, the nearest cause first.
    pub causes: Vec<String>,
    /// What a person can do about it.
    pub fixes: Vec<String>,
    /// The exit code of a command that it ends.
    pub exit: Exit,
}

impl Trouble {
    /// Takes an error apart.
    pub fn of(error: &dyn Diagnostic) -> Self {
        let text = chain(error);
        let mut parts = text.split("\n  cause: ").map(str::to_owned);
        Self {
            what: parts.next().unwrap_or_default(),
            causes: parts.collect(),
            // Whoever reads this asked it already.
            fixes: error
                .hints()
                .into_iter()
                .filter(|hint| !hint.starts_with("`xp doctor`"))
                .collect(),
            exit: error.exit(),
        }
    }

    /// Makes one of something that took too long.
    pub fn late(what: &str, limit: Duration) -> Self {
        Self {
            what: format!("{what} gave no answer within {} s", limit.as_secs()),
            causes: Vec::new(),
            fixes: vec![
                "is it reached from here, or only slow? `--timeout SECONDS` waits longer"
                    .to_owned(),
            ],
            exit: Exit::Outside,
        }
    }

    /// Makes one of something that was not asked, because its server had left so many other questions
    /// without an answer.
    pub fn given_up(what: &str, unanswered: usize) -> Self {
        Self {
            what: format!(
                "{what} was given up, because the server left {unanswered} questions without an answer"
            ),
            ..Self::late(what, Duration::ZERO)
        }
    }
}
