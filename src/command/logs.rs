//! `xp logs`

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::base::error::Failure;
use crate::base::suggest;
use crate::base::table::{Fit, fitted};
use crate::base::units::elapsed;
use crate::cli::LogsArgs;
use crate::flow::runs::{named, recorded};
use crate::flow::session::Session;
use crate::flow::sources::current_service;
use crate::model::event::{Event, Outcome};
use crate::model::manifest::ServiceName;
use crate::model::manifest::select::matches;
use crate::model::record::{RunRecord, UnitRecord};
use crate::report::{Replay, RunState, columns, first_line};
use crate::store::runs::Run;

/// The polling interval for a run in progress.
const POLL: Duration = Duration::from_millis(100);

/// Prints logs, or lists the recorded runs.
pub async fn run(session: &Session, args: &LogsArgs) -> Result<(), Failure> {
    let runs = recorded(session)?;
    if args.list {
        return super::print(&list(&runs, columns(io::stdout())));
    }
    let mut names = args.names.clone();
    if names.is_empty() {
        let here = current_service::names(session).into_iter();
        names.extend(here.map(|name| name.to_string()));
    }
    let wanted = LogQuery {
        session,
        args,
        names,
    };
    let shown = match runs.last() {
        // A run in progress may have no log yet.
        Some(last) if args.follow && last.is_running() => follow(session, &wanted, last).await?,
        _ => wanted.print(&wanted.find(&runs)?),
    };
    match shown {
        // The reader closed the pipe.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        shown => shown.map_err(|error| Failure::outside(format!("cannot print the logs: {error}"))),
    }
}

/// The logs requested on the command line.
struct LogQuery<'a> {
    session: &'a Session,
    args: &'a LogsArgs,
    /// The services and builders, as names or patterns; empty for all.
    names: Vec<String>,
}

/// A log that matches the query.
struct MatchedLog {
    run: u64,
    unit: String,
    phase: String,
    file: PathBuf,
    /// If this phase failed, a command that repeats the failed step.
    reproduce_command: Option<String>,
}

impl LogQuery<'_> {
    fn is_selected(&self, unit: &str) -> bool {
        self.names.is_empty() || self.names.iter().any(|name| matches(name, unit))
    }

    /// Returns the existing logs of a run that match.
    fn logs(&self, run: &Run, record: &RunRecord) -> Vec<MatchedLog> {
        let wanted = self.args.phase.as_deref();
        let logs = record.logs().into_iter().filter(|(unit, phase)| {
            self.is_selected(unit) && wanted.is_none_or(|wanted| wanted == *phase)
        });
        let logs = logs.map(|(unit, phase)| MatchedLog {
            run: run.number,
            unit: unit.to_owned(),
            phase: phase.to_owned(),
            file: run.log(unit, phase),
            reproduce_command: reproduce_command(record, unit, phase),
        });
        logs.filter(|log| log.file.is_file()).collect()
    }

    /// Returns the matching logs: of the run given by `--run`, else of the last run that has any. If services are
    /// named, it is the last run of each of them, which may be older.
    fn find(&self, runs: &[Run]) -> Result<Vec<MatchedLog>, Failure> {
        let (runs, none) = match self.args.run {
            None => (runs, "no recorded run has a".to_owned()),
            Some(number) => (
                std::slice::from_ref(named(runs, number)?),
                format!("run {number} has no"),
            ),
        };
        let records: Vec<RunRecord> = runs.iter().map(Run::record).collect();
        if let Some(failure) = self.unknown(&records, &none) {
            return Err(failure);
        }
        let mut found: Vec<MatchedLog> = Vec::new();
        for (run, record) in runs.iter().zip(&records).rev() {
            let mut logs = self.logs(run, record);
            logs.retain(|log| !found.iter().any(|newer| newer.unit == log.unit));
            found.splice(..0, logs);
            if self.names.is_empty() && !found.is_empty() {
                break;
            }
        }
        if !found.is_empty() {
            return Ok(found);
        }
        Err(Failure::usage(
            if self.names.is_empty() && self.args.phase.is_none() {
                format!("{none} log: nothing was done\nhint: `xp logs --list` lists the runs")
            } else {
                format!(
                    "{none} log of this service and phase\nhint: `xp logs --list` lists the runs; `xp logs '*'` shows the latest log of each service"
                )
            },
        ))
    }

    /// Returns an error if a name or phase matches no log.
    fn unknown(&self, records: &[RunRecord], none: &str) -> Option<Failure> {
        let logs: Vec<(&str, &str)> = records.iter().flat_map(RunRecord::logs).collect();
        let units: BTreeSet<&str> = logs.iter().map(|(unit, _)| *unit).collect();
        let phases = logs.iter().filter(|(unit, _)| self.is_selected(unit));
        let phases: BTreeSet<&str> = phases.map(|(_, phase)| *phase).collect();
        let services = self.session.manifest.services.keys();
        let services: BTreeSet<&str> = services.map(ServiceName::as_str).collect();
        let mut names = self.names.iter().map(String::as_str);
        let name = names.find(|name| !units.iter().any(|unit| matches(name, unit)));
        let phase = self
            .args
            .phase
            .as_deref()
            .filter(|phase| !phases.contains(phase));
        let wrong = name.or(phase)?;
        let hint = match name {
            Some(name) if services.contains(name) => Some(format!(
                "these runs did nothing for it; `xp why {name}` explains why"
            )),
            Some(name) => {
                let near = suggest::nearest(name, services.iter().copied());
                let near = near.map(suggest::did_you_mean);
                near.or_else(|| suggest::hint(name, "available logs", units.iter().copied()))
            }
            None => suggest::hint(wrong, "the phases", phases.iter().copied()),
        };
        let hint = hint.unwrap_or_else(|| "`xp logs --list` lists the runs".to_owned());
        let of_unit = match (name, self.names.as_slice()) {
            (None, [only]) => format!(" of `{only}`"),
            _ => String::new(),
        };
        Some(Failure::usage(format!(
            "{none} log of `{wrong}`{of_unit}\nhint: {hint}"
        )))
    }

    fn print(&self, logs: &[MatchedLog]) -> io::Result<()> {
        let replay = Replay::default();
        let is_of_one_run = logs.iter().all(|log| log.run == logs[0].run);
        for (index, log) in logs.iter().enumerate() {
            if self.args.path {
                replay.heading(&log.file.display().to_string())?;
                continue;
            }
            // A single log is printed without a heading.
            if logs.len() > 1 {
                let empty = if index == 0 { "" } else { "\n" };
                let run = if is_of_one_run {
                    String::new()
                } else {
                    format!(" (run {})", log.run)
                };
                let (unit, phase) = (first_line(&log.unit), first_line(&log.phase));
                replay.heading(&format!("{empty}==> {unit} {phase}{run} <=="))?;
            }
            replay.whole(&log.file)?;
            if let Some(command) = &log.reproduce_command {
                let (unit, phase) = (&log.unit, &log.phase);
                let text = format!("debug {unit}: {phase} with:\n  {command}");
                self.session.events.emit(Event::note(text));
            }
        }
        Ok(())
    }
}

fn reproduce_command(record: &RunRecord, unit: &str, phase: &str) -> Option<String> {
    let failure = record.unit(unit)?.failure.as_ref()?;
    let command = failure.reproduce_command.clone();
    command.filter(|_| failure.phase.as_str() == phase)
}

/// Prints the logs of a run in progress until it ends.
async fn follow(
    session: &Session,
    wanted: &LogQuery<'_>,
    run: &Run,
) -> Result<io::Result<()>, Failure> {
    let mut replay = Replay::default();
    let (mut record, mut length) = (RunRecord::default(), 0);
    loop {
        // Checked before reading, so that the last output is not missed.
        let is_over = !run.is_running();
        let before = std::mem::replace(&mut length, run.record_length());
        if length != before {
            record = run.record();
        }
        for log in wanted.logs(run, &record) {
            let prefix = format!("{} | ", first_line(&log.unit));
            if let Err(error) = replay.added(log.file, &prefix, is_over) {
                return Ok(Err(error));
            }
        }
        if is_over {
            return Ok(Ok(()));
        }
        let pause = async {
            tokio::time::sleep(POLL).await;
            Ok(())
        };
        session.unless_interrupted(pause).await?;
    }
}

/// Returns a table of the runs that fits the terminal's width, if any.
fn list(runs: &[Run], terminal: Option<usize>) -> String {
    let columns = [
        ("RUN", Fit::Fixed),
        ("STARTED", Fit::Optional),
        ("TIME", Fit::Optional),
        ("RESULT", Fit::Wrapped),
        ("COMMAND", Fit::Wrapped),
    ];
    let rows = runs.iter().rev().map(|run| {
        let record = run.record();
        vec![
            run.number.to_string(),
            // Without fractions of a second.
            record
                .time
                .split('.')
                .next()
                .filter(|time| !time.is_empty())
                .map_or_else(|| "-".to_owned(), |time| first_line(&format!("{time}Z"))),
            elapsed(Duration::try_from_secs_f64(record.seconds).unwrap_or_default()),
            first_line(&result(run, &record)),
            first_line(&record.command),
        ]
    });
    fitted(&columns, rows.collect(), terminal)
}

fn result(run: &Run, record: &RunRecord) -> String {
    let failed: Vec<&str> = record.failed().map(|unit| unit.name.as_str()).collect();
    let is_done = |unit: &&UnitRecord| unit.outcome == Some(Outcome::Done);
    match RunState::new(record, run.is_running()) {
        RunState::Failed if !failed.is_empty() => format!("failed: {}", failed.join(", ")),
        RunState::Failed => format!("failed with {}", record.exit.unwrap_or_default()),
        RunState::Done => format!("done: {}", record.units.iter().filter(is_done).count()),
        state => state.as_str().to_owned(),
    }
}
