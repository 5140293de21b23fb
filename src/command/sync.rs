//! `xp sync`

use std::io::Write as _;
use std::sync::Arc;
use std::time::Instant;

use futures_util::StreamExt as _;

use super::session::Session;
use super::stages;
use crate::cli::SyncArgs;
use crate::error::Failure;
use crate::event::{Event, Outcome, Phase, Unit};
use crate::execute::lock::lock;
use crate::execute::sync::SyncOutcome;
use crate::execute::{Sources, Stop, sync_working_copy};
use crate::plan::SyncStep;
use crate::plan::table::aligned;
use crate::report::{failures, paint};

/// How many working copies at once where no number is given; the client limits each host's share.
const JOBS: usize = 16;

/// Clones, fetches and fast-forwards working copies.
pub async fn run(session: &Session, args: &SyncArgs) -> Result<(), Failure> {
    let locked = async { Ok(lock(&session.layout.lock(), &session.events).await?) };
    let _lock = session.unless_interrupted(locked).await?;
    let selected = stages::select(session, &args.selection)?;
    let git = session.git()?;
    let resolved = stages::resolve(session, &git, &selected, &args.references);
    let mut steps = Vec::new();
    for (name, source) in session.unless_interrupted(resolved).await? {
        let Some(service) = session.manifest.services.get(&name) else {
            continue;
        };
        let dir = session.manifest.folder.join(&service.dir);
        steps.push((
            Unit::Service(name),
            SyncStep {
                dir,
                remote: service.git.remote.clone(),
                resolved: source.tip,
                moves: true,
            },
        ));
    }
    session.events.emit(Event::RunStarted {
        units: steps.iter().map(|(unit, _)| unit.clone()).collect(),
    });
    let sources = Arc::new(stages::sources(session, git, session.cancel.clone()));
    let work = steps
        .into_iter()
        .map(|(unit, step)| sync_one(session, sources.clone(), unit, step));
    let jobs = args.jobs.jobs.map_or(JOBS, usize::from);
    let mut rows: Vec<Vec<String>> = futures_util::stream::iter(work)
        .buffer_unordered(jobs)
        .collect()
        .await;
    rows.sort();
    rows.insert(
        0,
        ["SERVICE", "COMMIT", "RESULT", "DIR"]
            .map(str::to_owned)
            .to_vec(),
    );
    conclude(session, &rows)
}

/// Brings one working copy up to date, and returns its row of the closing table.
async fn sync_one(
    session: &Session,
    sources: Arc<Sources>,
    unit: Unit,
    step: SyncStep,
) -> Vec<String> {
    let start = Instant::now();
    let (events, phase) = (&session.events, Phase::Sync);
    events.emit(Event::UnitStarted { unit: unit.clone() });
    let result = if session.cancel.is_cancelled() {
        Err(Stop::Cancelled)
    } else {
        sync_working_copy(&sources, &unit, &step).await
    };
    let (text, outcome) = match result {
        Ok(outcome) => (result_text(&outcome), Outcome::Done),
        Err(Stop::Cancelled) => ("stopped".to_owned(), Outcome::Stopped),
        // Ctrl-C reaches what xp has started as well, such as ssh, whose end is no failure then.
        Err(Stop::Failed(_)) if session.cancel.is_cancelled() => {
            ("stopped".to_owned(), Outcome::Stopped)
        }
        Err(Stop::Failed(error)) => ("FAILED".to_owned(), Outcome::Failed(error.in_phase(phase))),
    };
    events.emit(Event::UnitFinished {
        unit: unit.clone(),
        outcome,
        elapsed: start.elapsed(),
    });
    let dir = step
        .dir
        .strip_prefix(&session.manifest.folder)
        .unwrap_or(&step.dir);
    vec![
        unit.to_string(),
        step.resolved.commit.short(),
        text,
        dir.display().to_string(),
    ]
}

fn result_text(outcome: &SyncOutcome) -> String {
    match outcome {
        SyncOutcome::Cloned => "cloned".to_owned(),
        SyncOutcome::UpToDate => "up to date".to_owned(),
        SyncOutcome::FastForwarded { from, to } => {
            format!("moved from {} to {}", from.short(), to.short())
        }
        SyncOutcome::FollowedRewrite { from, to } => {
            format!(
                "moved from {} to {}: the remote's history was rewritten",
                from.short(),
                to.short()
            )
        }
        SyncOutcome::LeftAlone(reason) => format!("fetched, left as it is: {reason}"),
    }
}

fn conclude(session: &Session, rows: &[Vec<String>]) -> Result<(), Failure> {
    let ended = session.reporter.finish();
    let failures = paint(&failures(&ended), session.settings.report.color);
    _ = write!(std::io::stderr().lock(), "{failures}");
    if !session.settings.report.quiet {
        super::print(&aligned(rows))?;
    }
    session.verdict(&ended)
}
