//! `xp sync`

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use futures_util::StreamExt as _;

use super::request;
use crate::base::error::Failure;
use crate::base::table::aligned;
use crate::cli::SyncArgs;
use crate::execute::sync::{LockedCommit, NotUpdatedReason, SyncOutcome};
use crate::execute::{Sources, Stop, check_out_working_copy, sync_working_copy};
use crate::flow::plan;
use crate::flow::request::ReferenceOverrides;
use crate::flow::session::Session;
use crate::flow::sources::commits;
use crate::flow::sources::locked::Locked;
use crate::model::event::{Event, FailedStep, Outcome, Phase, Unit, UnitSummary};
use crate::model::manifest::{ServiceName, Source};
use crate::model::plan::SyncStep;
use crate::report::failures;
use crate::store::claim::lock;

/// The default number of concurrent updates; the git client additionally limits connections per host.
const JOBS: usize = 16;

/// Clones, fetches and fast-forwards working copies.
pub async fn run(session: &Session, args: &SyncArgs) -> Result<(), Failure> {
    let locked = async { Ok(lock(&session.layout.lock(), &session.events).await?) };
    let _lock = session.unless_interrupted(locked).await?;
    let selected = request::select(session, &args.selection)?;
    let is_git = |name: &ServiceName| {
        let service = session.manifest.services.get(name);
        service.is_some_and(|service| service.source.git().is_some())
    };
    let (selected, of_plugins): (BTreeSet<ServiceName>, BTreeSet<ServiceName>) =
        selected.into_iter().partition(is_git);
    let git = session.git()?;
    let locked = request::locked(session, &args.locked);
    let locked = locked
        .map(|file| Locked::read(session, &file))
        .transpose()?;
    let references = ReferenceOverrides::from(&args.references);
    let sources = async {
        match &locked {
            Some(locked) => locked.sources(session, &selected),
            None => commits::resolve(session, &git, &selected, &references, None).await,
        }
    };
    let (mut steps, mut locked_commits) = (Vec::new(), Vec::new());
    for (name, source) in session.unless_interrupted(sources).await? {
        let Some(service) = session.manifest.services.get(&name) else {
            continue;
        };
        let Source::Git(git) = &service.source else {
            continue;
        };
        let dir = session.manifest.folder.join(&service.dir);
        locked_commits.push(LockedCommit {
            service: name.clone(),
            commit: source.tip.commit,
            // Other commits can have the same files of the service.
            selection: git.selection(),
        });
        steps.push((
            Unit::Service(name),
            SyncStep {
                dir,
                remote: git.remote.clone(),
                commit: source.tip.commit,
                resolved: source.tip,
                moves: true,
            },
        ));
    }
    let jobs = args.jobs.jobs.map_or(JOBS, usize::from);
    session.events.emit(Event::WorkStarted {
        units: steps.iter().map(|(unit, _)| unit.clone()).collect(),
        jobs,
    });
    let sources = Arc::new(plan::sources(session, git, session.cancel.clone()));
    let locked = locked.map(|_| by_working_copy(&steps, &locked_commits));
    let work = steps
        .into_iter()
        .zip(locked_commits)
        .map(|((unit, step), own)| {
            let locked = locked.as_ref().map(|all| {
                let all = all.get(&step.dir).cloned().unwrap_or_default();
                (own, all)
            });
            sync_one(session, sources.clone(), unit, step, locked)
        });
    let mut rows: Vec<Vec<String>> = futures_util::stream::iter(work)
        .buffer_unordered(jobs)
        .collect()
        .await;
    rows.extend(
        of_plugins
            .iter()
            .filter_map(|name| unmanaged(session, name)),
    );
    rows.sort();
    rows.insert(
        0,
        ["SERVICE", "COMMIT", "RESULT", "DIR"]
            .map(str::to_owned)
            .to_vec(),
    );
    conclude(session, &rows)
}

/// Returns the row of a service whose source comes from a plugin.
fn unmanaged(session: &Session, name: &ServiceName) -> Option<Vec<String>> {
    let service = session.manifest.services.get(name)?;
    let plugin = &service.source.plugin()?.image;
    Some(vec![
        name.to_string(),
        "-".to_owned(),
        format!("skipped: only git repositories are cloned, and its source comes from {plugin}"),
        service.dir.display().to_string(),
    ])
}

/// Groups the locked commits by working copy: services of one remote can share one.
fn by_working_copy(
    steps: &[(Unit, SyncStep)],
    locked: &[LockedCommit],
) -> BTreeMap<PathBuf, Vec<LockedCommit>> {
    let mut wanted: BTreeMap<PathBuf, Vec<LockedCommit>> = BTreeMap::new();
    for ((_, step), locked) in steps.iter().zip(locked) {
        let of_dir = wanted.entry(step.dir.clone()).or_default();
        of_dir.push(locked.clone());
    }
    wanted
}

/// Updates one working copy, and returns its row of the summary table.
async fn sync_one(
    session: &Session,
    sources: Arc<Sources>,
    unit: Unit,
    step: SyncStep,
    locked: Option<(LockedCommit, Vec<LockedCommit>)>,
) -> Vec<String> {
    let start = Instant::now();
    let (events, phase) = (&session.events, Phase::Sync);
    let is_locked = locked.is_some();
    events.emit(Event::UnitStarted { unit: unit.clone() });
    let result = if session.cancel.is_cancelled() {
        Err(Stop::Cancelled)
    } else if let Some((own, all)) = locked {
        check_out_working_copy(&sources, &unit, &step, own, all).await
    } else {
        sync_working_copy(&sources, &unit, &step).await
    };
    let (text, ended) = match result {
        Ok(SyncOutcome::NotUpdated(reason)) if is_locked => {
            let what = match reason {
                NotUpdatedReason::LockedApart(_) => reason.to_string(),
                _ => format!("fetched; working copy not moved: {reason}"),
            };
            (what, UnitSummary::failed(not_checked_out(&step, &reason)))
        }
        Ok(outcome) => (result_text(&outcome), UnitSummary::new(Outcome::Done)),
        Err(Stop::Cancelled) => ("stopped".to_owned(), UnitSummary::new(Outcome::Stopped)),
        // Ctrl-C also reaches child processes such as ssh; their exit is not a failure then.
        Err(Stop::Failed(_)) if session.cancel.is_cancelled() => {
            ("stopped".to_owned(), UnitSummary::new(Outcome::Stopped))
        }
        Err(Stop::Failed(error)) => (
            "FAILED".to_owned(),
            UnitSummary::failed(error.in_phase(phase, None)),
        ),
    };
    events.emit(Event::UnitFinished {
        unit: unit.clone(),
        ended: UnitSummary {
            elapsed: start.elapsed(),
            ..ended
        },
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

/// Returns the failure if the locked commit was fetched but could not be checked out.
fn not_checked_out(step: &SyncStep, reason: &NotUpdatedReason) -> FailedStep {
    if let NotUpdatedReason::LockedApart([(one, _), (other, _)]) = reason {
        let message = format!("{}: {reason}", step.dir.display());
        return FailedStep {
            hints: vec![format!(
                "lock them together with `xp lock {one} {other}`; services on different branches require separate values of `dir`"
            )],
            ..FailedStep::new(Phase::Sync, message)
        };
    }
    let message = format!(
        "{} is not at the locked commit {}: {reason}",
        step.dir.display(),
        step.resolved.commit.short()
    );
    FailedStep {
        hints: vec![
            "commit or stash your changes and run this again; `xp build --locked` does not need a working copy"
                .to_owned(),
        ],
        ..FailedStep::new(Phase::Sync, message)
    }
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
        SyncOutcome::NotUpdated(reason) => format!("fetched; working copy not moved: {reason}"),
    }
}

fn conclude(session: &Session, rows: &[Vec<String>]) -> Result<(), Failure> {
    let ended = session.reporter.finish();
    let printed = session.reporter.print(&aligned(rows));
    session.reporter.print_failures(&failures(&ended, true));
    printed?;
    session.verdict(&ended)
}
