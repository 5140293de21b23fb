//! Results in registries: pushed in the background, and fetched when they are restored.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::{JoinSet, spawn_blocking};

use crate::base::error::chain;
use crate::base::task::joined;
use crate::client::registry::NewArtifact;
use crate::execute::ExecuteContext;
use crate::model::event::{Event, Measure, Phase, Unit};
use crate::model::image::ImageReference;
use crate::model::step_result::{STEP_ARTIFACT, StepResult};

/// How many results are pushed at once.
const UPLOADS: usize = 4;

/// How long the end of a run waits for results that are still being pushed.
const PATIENCE: Duration = Duration::from_secs(300);

/// Results that are being pushed.
pub struct Uploads {
    tasks: Mutex<JoinSet<()>>,
    permits: Arc<Semaphore>,
}

impl Default for Uploads {
    fn default() -> Self {
        Self {
            tasks: Mutex::default(),
            permits: Arc::new(Semaphore::new(UPLOADS)),
        }
    }
}

impl Uploads {
    /// Starts to push a result of the store. A failure is only a note.
    pub fn start(
        &self,
        context: &ExecuteContext,
        unit: &Unit,
        phase: Phase,
        result: &StepResult,
        artifact: &ImageReference,
    ) {
        let (registry, store) = (context.registry.clone(), Arc::clone(&context.steps));
        let (events, cancel) = (context.events.clone(), context.cancel.clone());
        let (unit, result, artifact) = (unit.clone(), result.clone(), artifact.clone());
        let permits = Arc::clone(&self.permits);
        let push = async move {
            let _permit = permits.acquire_owned().await;
            let opened = {
                let result = result.clone();
                spawn_blocking(move || store.open_archive(&result))
            };
            // Another run may have removed it.
            let Ok(archive) = joined(opened.await) else {
                return;
            };
            let Some(tag) = artifact.tag() else {
                return;
            };
            let (document, annotations) = (result.to_json(), result.annotations());
            let blob = result.outputs.as_ref().zip(archive.as_ref());
            let content = NewArtifact {
                kind: STEP_ARTIFACT,
                document: &document,
                annotations: &annotations,
                blob: blob.map(|(blob, file)| (file, &blob.digest, blob.bytes)),
            };
            let pushed = registry.push_artifact(artifact.repository(), tag, content);
            let pushed = tokio::select! {
                pushed = pushed => pushed,
                () = cancel.cancelled() => return,
            };
            if let Err(error) = pushed {
                let why = chain(&error).replace("\n  cause: ", ": ");
                events.emit(Event::note(format!(
                    "{unit}: the result of `{phase}` was not pushed: {why}"
                )));
            }
        };
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.spawn(push);
    }

    /// Waits until all results are pushed, or gives up after a while.
    pub async fn finish(&self, context: &ExecuteContext) {
        let mut tasks = {
            let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *tasks)
        };
        let all = async { while tasks.join_next().await.is_some() {} };
        tokio::select! {
            () = all => {}
            () = context.cancel.cancelled() => {}
            () = tokio::time::sleep(PATIENCE) => {
                context.events.emit(Event::note(
                    "some results of phases were not pushed: the registry is too slow",
                ));
            }
        }
    }
}

/// Fetches the archive of a result from a registry into the store of this machine; returns why not, otherwise.
pub async fn fetch(
    context: &ExecuteContext,
    unit: &Unit,
    phase: Phase,
    result: &StepResult,
    artifact: &ImageReference,
) -> Result<(), String> {
    let store = Arc::clone(&context.steps);
    let mut archive = None;
    if let Some(blob) = &result.outputs {
        let temp = {
            let store = Arc::clone(&store);
            spawn_blocking(move || store.temp())
        };
        let mut temp = joined(temp.await).map_err(|error| error.to_string())?;
        context.events.emit(Event::Progress {
            unit: unit.clone(),
            phase,
            measure: Measure::Bytes,
            done: 0,
            total: Some(blob.bytes),
            bytes: 0,
        });
        let repository = artifact.repository();
        let registry = &context.registry;
        let fetched = registry.fetch_blob(repository, &blob.digest, blob.bytes, temp.file());
        tokio::select! {
            fetched = fetched => fetched.map_err(|error| chain(&error))?,
            () = context.cancel.cancelled() => return Err("interrupted".to_owned()),
        }
        archive = Some(temp);
    }
    let result = result.clone();
    let saved = spawn_blocking(move || store.save(&result, archive));
    joined(saved.await).map_err(|error| error.to_string())
}
