//! Which run a command is about.

use super::session::Session;
use crate::error::Failure;
use crate::runs::{Run, Runs};

/// Returns the runs that are kept, the oldest first.
pub fn all(session: &Session) -> Result<Vec<Run>, Failure> {
    let runs = Runs::new(session.layout.logs());
    runs.list().map_err(|error| {
        let folder = runs.folder().display();
        Failure::outside(format!("the logs in {folder} cannot be read: {error}"))
    })
}

/// Like [`all`], and there is at least one.
pub fn kept(session: &Session) -> Result<Vec<Run>, Failure> {
    let runs = all(session)?;
    match runs.is_empty() {
        false => Ok(runs),
        true => Err(Failure::usage(format!(
            "there is no run in {}\nhint: `xp build` makes one",
            session.layout.logs().display()
        ))),
    }
}

/// Returns the run of that number.
pub fn named(runs: &[Run], number: u64) -> Result<&Run, Failure> {
    let run = runs.iter().find(|run| run.number == number);
    run.ok_or_else(|| {
        let kept: Vec<String> = runs.iter().map(|run| run.number.to_string()).collect();
        Failure::usage(format!(
            "there is no run {number}, or not any more\n\
             hint: those that are kept: {}; `xp logs --list` tells more of them",
            kept.join(", ")
        ))
    })
}
