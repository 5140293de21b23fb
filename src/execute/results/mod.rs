//! Steps of phases with `inputs`: their files, and their results. No failure of a cache fails a build.

mod live;
mod upload;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::task::spawn_blocking;

pub use live::LiveResult;
pub use upload::Uploads;

use super::ExecuteContext;
use super::source;
use super::state::UnitState;
use super::step_error::{StepError, Stop};
use crate::base::error::chain;
use crate::base::task::joined;
use crate::base::tree;
use crate::execute::results::live::unpack_stored;
use crate::model::event::{Event, Phase, RestoredPhase, Unit};
use crate::model::image::ImageQuery;
use crate::model::layout::Layout;
use crate::model::plan::{
    Inventory, KeepStep, PlaceStep, Plan, RestoreStep, SavedResult, StageStep,
};
use crate::model::step_result::{OutputsBlob, StepResult};
use crate::store::step_archive::{ArchiveError, pack};
use crate::store::step_results::{StepStore, TempArchive};

/// Checks out the inputs of a phase, and adds the outputs of earlier ones.
pub async fn stage(
    context: &ExecuteContext,
    unit: &Unit,
    step: &StageStep,
    state: &mut UnitState,
) -> Result<(), Stop> {
    // The object store is not mounted.
    let mut unused = UnitState::default();
    source::run_export(&context.sources, unit, &step.export, &mut unused).await?;
    let folder = &step.script_dir;
    std::fs::create_dir_all(folder).map_err(|error| {
        StepError::plain(format!("cannot create {}: {error}", folder.display()))
    })?;
    place_results(context, &step.results, &step.export.export, false, state).await?;
    state.phase_started = Some(Instant::now());
    Ok(())
}

/// Removes the folder in which phases of a service ran, including one that an earlier run left.
pub async fn remove_stage(context: &ExecuteContext, unit: &Unit) {
    if let Unit::Service(service) = unit {
        let folder = context.layout.stage(service);
        // The next build replaces what cannot be removed.
        _ = joined(spawn_blocking(move || tree::remove(&folder)).await);
    }
}

/// Removes what a run that failed or was killed left in xp's own folder, and that no step of this plan uses: the folders in
/// which phases of services ran that have nothing to do, images that plugins read, and incomplete archives.
pub async fn remove_leftover_files(layout: &Layout, store: StepStore, plan: &Plan) {
    let idle = plan.units.iter().filter(|unit| unit.steps.is_empty());
    let folders = idle.filter_map(|unit| match &unit.unit {
        Unit::Service(service) => Some(layout.stage(service)),
        _ => None,
    });
    let folders: Vec<_> = folders.chain([layout.sboms()]).collect();
    let remove = move || {
        for folder in folders {
            // The next run tries again.
            _ = tree::remove(&folder);
        }
        store.remove_leftovers();
    };
    joined(spawn_blocking(remove).await);
}

/// Adds outputs to the export.
pub async fn place(
    context: &ExecuteContext,
    step: &PlaceStep,
    state: &mut UnitState,
) -> Result<(), Stop> {
    if step.in_place {
        let mut outputs = step.outputs.iter().map(|it| step.export.join(it));
        if let Some(existing) = outputs.find(|it| it.symlink_metadata().is_ok()) {
            let message = format!("{} was created during the build", existing.display());
            return Err(StepError::plain(message)
                .hint("it is an output of a phase that was restored or run elsewhere; run xp again")
                .into());
        }
    }
    place_results(context, &step.results, &step.export, true, state).await
}

async fn place_results(
    context: &ExecuteContext,
    phases: &[Phase],
    folder: &std::path::Path,
    is_export: bool,
    state: &mut UnitState,
) -> Result<(), Stop> {
    for phase in phases {
        let Some(mut live) = state.results.remove(phase) else {
            return Err(StepError::plain(format!("`{phase}` has no result")).into());
        };
        let (store, to) = (Arc::clone(&context.steps), folder.to_owned());
        let placed = spawn_blocking(move || live.place(&to, is_export, &store).map(|()| live));
        let live = joined(placed.await).map_err(|error| {
            StepError::plain(format!(
                "cannot add the outputs of `{phase}` to {}: {error}",
                folder.display()
            ))
        })?;
        state.results.insert(*phase, live);
    }
    Ok(())
}

/// Saves the outputs of a phase.
pub async fn keep(
    context: &ExecuteContext,
    unit: &Unit,
    step: &KeepStep,
    state: &mut UnitState,
) -> Result<(), Stop> {
    let started = state.phase_started.take();
    let elapsed = started.map(|it| it.elapsed()).unwrap_or_default();
    let not_saved = |why: String| {
        context.events.emit(Event::note(format!(
            "{unit}: the result of `{}` was not saved: {why}",
            step.phase
        )));
    };
    let packed = match archive(context, step).await {
        Ok(packed) => packed,
        Err(ArchiveError::MissingOutput(output)) => {
            let message = format!("`{}` did not create its output `{output}`", step.phase);
            return Err(StepError::plain(message)
                .hint("correct the script, or remove it from `outputs`")
                .into());
        }
        Err(error) => {
            not_saved(chain(&error).replace("\n  cause: ", ": "));
            None
        }
    };
    let mut saved = None;
    if let (Some(wanted), Some((blob, archive))) = (&step.saved, packed) {
        match save(context, step, wanted, elapsed, blob, archive).await {
            Ok(result) => {
                if let Some(artifact) = &wanted.artifact {
                    context
                        .uploads
                        .start(context, unit, step.phase, &result, artifact);
                }
                saved = Some(result);
            }
            Err(why) => not_saved(why),
        }
    }
    let (files, outputs) = (step.files.clone(), step.outputs.clone());
    let live = spawn_blocking(move || LiveResult::new(outputs, files, saved));
    state.results.insert(step.phase, joined(live.await));
    Ok(())
}

type Packed = (Option<OutputsBlob>, Option<TempArchive>);

/// Writes the outputs of a phase to a temporary archive.
async fn archive(
    context: &ExecuteContext,
    step: &KeepStep,
) -> Result<Option<Packed>, ArchiveError> {
    if step.outputs.is_empty() {
        return Ok(Some((None, None)));
    }
    let (files, outputs) = (step.files.clone(), step.outputs.clone());
    let store = Arc::clone(&context.steps);
    let packed = spawn_blocking(move || {
        let failed = |error: std::io::Error| ArchiveError::Damaged(error.to_string());
        let mut archive = store.temp().map_err(failed)?;
        let blob = pack(&files, &outputs, archive.file())?;
        Ok(Some((Some(blob), Some(archive))))
    });
    joined(packed.await)
}

/// Saves a result in the store of this machine; returns why not, otherwise.
async fn save(
    context: &ExecuteContext,
    step: &KeepStep,
    wanted: &SavedResult,
    elapsed: Duration,
    outputs: Option<OutputsBlob>,
    archive: Option<TempArchive>,
) -> Result<StepResult, String> {
    for (image, identity) in &wanted.images {
        let query = ImageQuery::from(image.clone());
        let found = context.engine.images([query]).await;
        let inventory = Inventory {
            engine: found.map_err(|error| chain(&error))?,
            ..Inventory::default()
        };
        let is_pinned = image.digest().is_some();
        if !is_pinned && !inventory.has_identity(image, identity) {
            return Err(format!("{image} moved during the build"));
        }
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let result = StepResult {
        key: wanted.key,
        service: wanted.service.to_string(),
        phase: step.phase.to_string(),
        commit: wanted.commit.to_string(),
        saved_at: now.unwrap_or_default().as_secs(),
        seconds: elapsed.as_secs_f64(),
        parts: wanted.parts.clone(),
        outputs,
    };
    let store = Arc::clone(&context.steps);
    let saved = result.clone();
    let done = spawn_blocking(move || store.save(&saved, archive));
    joined(done.await).map_err(|error| error.to_string())?;
    Ok(result)
}

/// Restores the outputs of a phase, and returns whether that was possible.
pub async fn restore(
    context: &ExecuteContext,
    unit: &Unit,
    step: &RestoreStep,
    state: &mut UnitState,
) -> Result<bool, Stop> {
    let result = &step.result;
    let unusable = |place: &str, why: &str| {
        context.events.emit(Event::note(format!(
            "{unit}: the result of `{}` {place} cannot be used: {why}",
            step.phase
        )));
    };
    let mut restored = None;
    if step.is_stored {
        match unpacked(context, step, result.clone()).await {
            Ok(()) => restored = Some(false),
            Err(error) => unusable(
                "on this machine",
                &chain(&error).replace("\n  cause: ", ": "),
            ),
        }
    }
    if context.cancel.is_cancelled() {
        return Err(Stop::Cancelled);
    }
    if restored.is_none()
        && let Some(artifact) = &step.artifact
    {
        let fetched = upload::fetch(context, unit, step.phase, result, artifact).await;
        let done = match fetched {
            Ok(()) => unpacked(context, step, result.clone())
                .await
                .map_err(|error| chain(&error)),
            Err(why) => Err(why),
        };
        match done {
            Ok(()) => restored = Some(true),
            Err(_) if context.cancel.is_cancelled() => return Err(Stop::Cancelled),
            Err(why) => unusable("in the registry", &why.replace("\n  cause: ", ": ")),
        }
    }
    let Some(is_from_registry) = restored else {
        return Ok(false);
    };
    let (files, outputs, saved) = (
        step.files.clone(),
        step.outputs.clone(),
        Some(result.clone()),
    );
    let live = spawn_blocking(move || LiveResult::new(outputs, files, saved));
    state.results.insert(step.phase, joined(live.await));
    let phase = RestoredPhase {
        phase: step.phase,
        commit: result.commit.clone(),
        is_from_registry,
        saved: Duration::try_from_secs_f64(result.seconds).unwrap_or_default(),
    };
    // The steps may run again, if another run replaced a builder.
    state.restored.retain(|it| it.phase != step.phase);
    state.restored.push(phase.clone());
    context.events.emit(Event::PhaseRestored {
        unit: unit.clone(),
        restored: phase,
    });
    if let Some(artifact) = &step.publish {
        context
            .uploads
            .start(context, unit, step.phase, result, artifact);
    }
    Ok(true)
}

/// Unpacks the archive of a stored result to the folder of its phase.
async fn unpacked(
    context: &ExecuteContext,
    step: &RestoreStep,
    result: StepResult,
) -> Result<(), ArchiveError> {
    let (files, outputs): (PathBuf, Vec<String>) = (step.files.clone(), step.outputs.clone());
    let store = Arc::clone(&context.steps);
    let done = spawn_blocking(move || {
        if result.outputs.is_none() && !outputs.is_empty() {
            return Err(ArchiveError::Damaged("it has no archive".to_owned()));
        }
        tree::remove(&files).map_err(|error| ArchiveError::Damaged(error.to_string()))?;
        unpack_stored(&result, &outputs, &files, &store)
    });
    joined(done.await)
}
