//! The sync and export steps, which provide a commit's files.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, UNIX_EPOCH};

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use super::state::UnitState;
use super::step_error::{StepError, Stop};
use super::sync::{LockedCommit, SyncError, SyncOutcome, SyncRequest, check_out_locked, sync};
use crate::base::task::joined;
use crate::client::git::export;
use crate::client::git::{
    Export, GitClient, GitErrorKind, Opened, OperationContext, Progress, ProgressPhase, WorkingCopy,
};
use crate::model::event::{Event, Events, Measure, Phase, Unit};
use crate::model::plan::{ExportStep, SyncStep};

/// The modification time of files that phases with `inputs` read: before that of any output, so that `make` has nothing
/// to do after outputs were restored, and the same for every commit. Some formats have no time before 1980.
const OLD: Duration = Duration::from_secs(946_684_800);

/// The minimum time between progress events: git reports every object.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);

/// The syncs of a working copy in this run.
type SyncResults = Vec<(SyncStep, SyncOutcome)>;

/// Held while a working copy is in use.
pub(super) type WorkingCopyGuard = tokio::sync::OwnedMutexGuard<SyncResults>;

/// Clients and locks of the sync and export steps.
pub struct Sources {
    pub(super) git: GitClient,
    events: Events,
    pub(super) cancel: CancellationToken,
    /// The folder for incomplete clones.
    pub(super) staging_dir: PathBuf,
    /// A lock per working copy: services of one remote may share one.
    in_use: Mutex<HashMap<PathBuf, Arc<tokio::sync::Mutex<SyncResults>>>>,
    /// Limits concurrent checkouts, which are CPU-bound.
    checkouts: Semaphore,
}

impl Sources {
    /// Returns a new instance.
    pub fn new(
        git: GitClient,
        events: Events,
        cancel: CancellationToken,
        staging_dir: PathBuf,
    ) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let (in_use, checkouts) = (Mutex::default(), Semaphore::new(processors));
        Self {
            git,
            events,
            cancel,
            staging_dir,
            in_use,
            checkouts,
        }
    }

    /// Locks a working copy for this process.
    pub(super) async fn lock(&self, dir: &Path) -> WorkingCopyGuard {
        let lock = {
            let mut in_use = self.in_use.lock().unwrap_or_else(PoisonError::into_inner);
            in_use.entry(dir.to_owned()).or_default().clone()
        };
        lock.lock_owned().await
    }
}

/// Fetches the commit into the working copy, and checks it out if that is safe; otherwise emits a note.
pub async fn run_sync(sources: &Sources, unit: &Unit, step: &SyncStep) -> Result<(), Stop> {
    let outcome = sync_working_copy(sources, unit, step).await?;
    if let SyncOutcome::NotUpdated(reason) = outcome {
        let note = format!("{} was not updated: {reason}\n", step.dir.display());
        sources.events.emit(Event::Output {
            unit: unit.clone(),
            phase: Phase::Sync,
            bytes: note.into(),
        });
    }
    Ok(())
}

/// Like [`run_sync`], but returns the outcome instead of emitting a note.
pub async fn sync_working_copy(
    sources: &Sources,
    unit: &Unit,
    step: &SyncStep,
) -> Result<SyncOutcome, Stop> {
    let mut results = sources.lock(&step.dir).await;
    // Services of one working copy mostly need the same sync.
    if let Some((_, outcome)) = results.iter().find(|(earlier, _)| earlier == step) {
        return Ok(outcome.clone());
    }
    let outcome = sync_blocking(sources, unit, step, sync).await?;
    results.push((step.clone(), outcome.clone()));
    Ok(outcome)
}

/// Checks out a locked commit if that is safe. `all` are the locked commits of every service in the working copy.
pub async fn check_out_working_copy(
    sources: &Sources,
    unit: &Unit,
    step: &SyncStep,
    own: LockedCommit,
    all: Vec<LockedCommit>,
) -> Result<SyncOutcome, Stop> {
    let _lock = sources.lock(&step.dir).await;
    let check_out =
        move |client: &GitClient, request: &SyncRequest<'_>, watch: &OperationContext<'_>| {
            check_out_locked(client, request, &own, &all, watch)
        };
    sync_blocking(sources, unit, step, check_out).await
}

/// Runs a sync on a blocking thread; the caller holds the lock of the working copy.
async fn sync_blocking(
    sources: &Sources,
    unit: &Unit,
    step: &SyncStep,
    sync: impl FnOnce(
        &GitClient,
        &SyncRequest<'_>,
        &OperationContext<'_>,
    ) -> Result<SyncOutcome, SyncError>
    + Send
    + 'static,
) -> Result<SyncOutcome, Stop> {
    let (client, staging_dir) = (sources.git.clone(), sources.staging_dir.clone());
    let (step, cancel) = (step.clone(), sources.cancel.clone());
    let progress = progress(sources.events.clone(), unit.clone(), Phase::Sync);
    let result = spawn_blocking(move || {
        let request = SyncRequest {
            dir: &step.dir,
            staging_dir: &staging_dir,
            url: &step.remote,
            resolved: &step.resolved,
            commit: step.commit,
            moves: step.moves,
        };
        sync(
            &client,
            &request,
            &OperationContext {
                progress: &progress,
                cancel: &cancel,
            },
        )
    });
    match joined(result.await) {
        Err(SyncError::Git(error)) if error.kind() == GitErrorKind::Cancelled => {
            Err(Stop::Cancelled)
        }
        result => Ok(result.map_err(StepError::from)?),
    }
}

/// Exports the commit.
pub async fn run_export(
    sources: &Sources,
    unit: &Unit,
    step: &ExportStep,
    state: &mut UnitState,
) -> Result<(), Stop> {
    let _lock = sources.lock(&step.dir).await;
    let _permit = sources.checkouts.acquire().await;
    let (step, cancel) = (step.clone(), sources.cancel.clone());
    let client = sources.git.clone();
    // Submodules and Git LFS files may be fetched now.
    let progress = progress(sources.events.clone(), unit.clone(), Phase::Export);
    let exported = spawn_blocking(move || {
        let watch = OperationContext {
            progress: &progress,
            cancel: &cancel,
        };
        let Opened::WorkingCopy(working_copy) = WorkingCopy::open(&step.dir)? else {
            return Err(SyncError::OtherFiles { dir: step.dir });
        };
        let wanted = Export {
            commit: step.commit,
            selection: &step.selection,
            submodules: step.submodules.then_some(step.modules.as_path()),
            lfs: &step.lfs,
            branch: step.branch.as_deref(),
            url: &step.remote,
            files: &step.export,
            git_dir: &step.git_dir,
            modified: step.is_old.then(|| UNIX_EPOCH + OLD),
        };
        let exported = export(&client, &working_copy, &wanted, &watch)?;
        let facts = working_copy.commit_facts(step.commit)?;
        Ok((exported, facts))
    });
    let (exported, facts) = joined(exported.await).map_err(StepError::from)?;
    state.commit_time = Some(facts.committer_time);
    state.objects = Some(exported.objects);
    state.borrowed_objects = exported.borrowed_objects;
    Ok(())
}

fn progress(events: Events, unit: Unit, phase: Phase) -> impl Fn(Progress) {
    let last = Mutex::new(None::<Instant>);
    move |progress| {
        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_some_and(|last| last.elapsed() < PROGRESS_INTERVAL) {
            return;
        }
        *last = Some(Instant::now());
        events.emit(Event::Progress {
            unit: unit.clone(),
            phase,
            measure: match progress.phase {
                ProgressPhase::Receiving => Measure::Objects,
                ProgressPhase::Resolving => Measure::Deltas,
                ProgressPhase::CheckingOut | ProgressPhase::FetchingFiles => Measure::Files,
            },
            done: progress.done as u64,
            total: Some(progress.total as u64).filter(|total| *total > 0),
            bytes: progress.bytes as u64,
        });
    }
}
