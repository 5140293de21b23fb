//! Finds the run that a command refers to.

use std::collections::BTreeSet;

use super::session::Session;
use crate::base::error::Failure;
use crate::model::manifest::ServiceName;
use crate::store::runs::{Run, Runs};

/// Returns the recorded runs, oldest first.
pub fn all(session: &Session) -> Result<Vec<Run>, Failure> {
    let runs = Runs::new(session.layout.logs());
    runs.list().map_err(|error| {
        let folder = runs.folder().display();
        Failure::outside(format!("cannot read the logs in {folder}: {error}"))
    })
}

/// Like [`all`], but it is an error if there are none.
pub fn recorded(session: &Session) -> Result<Vec<Run>, Failure> {
    let runs = all(session)?;
    if runs.is_empty() {
        Err(Failure::usage(format!(
            "no runs found in {}\nhint: `xp build` records one",
            session.layout.logs().display()
        )))
    } else {
        Ok(runs)
    }
}

/// What a build did not finish.
pub struct UnfinishedServices {
    pub run: u64,
    /// The services that failed, were stopped, or were not started.
    pub services: BTreeSet<ServiceName>,
    /// Whether it built working copies: `--local`.
    pub is_local: bool,
    /// Its command, if its options selected commits: `--branch`, `--reference` or `--locked`.
    pub selecting_command: Option<String>,
}

/// Returns what the last run that worked on images of services did not finish.
pub fn unfinished(session: &Session) -> Result<UnfinishedServices, Failure> {
    let runs = recorded(session)?;
    let mut records = runs.iter().rev().map(|run| (run.number, run.record()));
    let last = records.find_map(|(run, record)| {
        let unfinished = record.unfinished_services()?;
        Some((run, unfinished, record))
    });
    let Some((run, unfinished, record)) = last else {
        return Err(Failure::usage(
            "no recorded run built anything\nhint: `xp logs --list` lists the runs",
        ));
    };
    // Others were removed from the manifest since.
    let services = session.manifest.services.keys();
    let services = services.filter(|name| unfinished.contains(name.as_str()));
    Ok(UnfinishedServices {
        run,
        services: services.cloned().collect(),
        is_local: record.is_of_working_copies(),
        selecting_command: record
            .is_of_selected_commits()
            .then(|| record.command.clone()),
    })
}

/// Returns the run with this number.
pub fn named(runs: &[Run], number: u64) -> Result<&Run, Failure> {
    let run = runs.iter().find(|run| run.number == number);
    run.ok_or_else(|| {
        let numbers: Vec<String> = runs.iter().map(|run| run.number.to_string()).collect();
        Failure::usage(format!(
            "run {number} not found; it may have been removed\n\
             hint: recorded runs: {}; `xp logs --list` shows details",
            numbers.join(", ")
        ))
    })
}
