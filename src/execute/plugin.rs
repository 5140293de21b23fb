//! Runs a plugin: the entrypoint of its image, on the files of the build.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;

use super::ExecuteContext;
use super::builder::PreparedContainer;
use super::step_error::{StepError, Stop};
use crate::client::engine::{CreatedHeld, EngineError, HOME, HeldSpec, Holder};
use crate::model::environment::BUILDER_TRACEPARENT;
use crate::model::event::{Event, Unit};
use crate::model::image::ImageReference;
use crate::model::plan::PluginStep;
use crate::model::plugin::{LABEL_PLUGIN, OUTSIDE, PluginDescription, PluginUse, problems};
use crate::model::trace::TraceParent;

/// Runs a plugin in a container that ends with the holder, unless `stopped` resolves first.
pub async fn run(
    context: &ExecuteContext,
    unit: &Unit,
    step: &PluginStep,
    prepared: &mut PreparedContainer,
    holder: &Holder,
    trace: Option<TraceParent>,
    stopped: impl Future<Output = Stop>,
) -> Result<(), Stop> {
    let failed = |error| failed(step, error);
    check(context, step, &prepared.spec.image).await?;
    let spec = spec(step, prepared, trace);
    // Must not be canceled in between: a created container must be started or removed.
    let created = CreatedHeld::create(&context.engine, &spec, holder).await;
    let created = created.map_err(failed)?;
    let items = std::mem::take(&mut prepared.items);
    if !items.is_empty()
        && let Err(error) = created.send_items(items).await
    {
        created.remove().await;
        return Err(failed(error));
    }
    if let Err(error) = prepared.join_network(created.id()).await {
        created.remove().await;
        return Err(failed(error));
    }
    let (events, unit, phase) = (context.events.clone(), unit.clone(), step.phase);
    let show = Arc::new(move |bytes: Bytes| {
        if !bytes.is_empty() {
            events.emit(Event::Output {
                unit: unit.clone(),
                phase,
                bytes,
            });
        }
    });
    let redacted = Arc::new(prepared.config.redactor.stream());
    let output = {
        let (redacted, show) = (redacted.clone(), show.clone());
        move |bytes| show(redacted.push(bytes))
    };
    let running = created.start(output).await.map_err(failed)?;
    let code = tokio::select! {
        code = running.wait() => code.map_err(failed),
        stop = stopped => Err(stop),
    };
    show(redacted.end());
    running.remove().await;
    match code? {
        0 => Ok(()),
        OUTSIDE => Err(StepError::plugin(step, OUTSIDE).caused_outside().into()),
        code => Err(StepError::plugin(step, code).into()),
    }
}

/// Checks that the image is a plugin: it has an entrypoint, or a label that says so. Other images, such as those with
/// a toolchain, have a shell as their command, which would end at once without doing anything.
///
/// Settings are validated again, because when it was planned, the image may not have existed.
async fn check(
    context: &ExecuteContext,
    step: &PluginStep,
    image: &ImageReference,
) -> Result<(), Stop> {
    let found = context.engine.entrypoint(image).await;
    let Some((labels, has_entrypoint)) = found.map_err(|error| failed(step, error))? else {
        // The engine reports that it is missing.
        return Ok(());
    };
    let in_manifest = |error: StepError| error.in_manifest(&step.file, step.item.line);
    let description = PluginDescription::of(&labels);
    let mut problems = problems(&PluginUse::step(&step.key, &step.item), &description).into_iter();
    if let Some(problem) = problems.next() {
        let (message, hints) = problem.into_text();
        let error = in_manifest(StepError::plain(message));
        return Err(hints.into_iter().fold(error, StepError::hint).into());
    }
    if !has_entrypoint && !labels.contains_key(LABEL_PLUGIN) {
        let error = StepError::plain(format!("the image {image} has no entrypoint"));
        return Err(with_hint(in_manifest(error), step).into());
    }
    Ok(())
}

/// Returns the error of a plugin that could not be run, with its position.
pub fn failed(step: &PluginStep, error: EngineError) -> Stop {
    let lacks_entrypoint = matches!(error, EngineError::NoEntrypoint(_));
    let error = StepError::from(error).in_manifest(&step.file, step.item.line);
    if lacks_entrypoint {
        with_hint(error, step).into()
    } else {
        error.into()
    }
}

fn with_hint(error: StepError, step: &PluginStep) -> StepError {
    error.hint(format!(
        "add an ENTRYPOINT to its Dockerfile, or run commands in it: `{{run: [COMMAND], image: {}}}`",
        step.item.image
    ))
}

fn spec(step: &PluginStep, prepared: &PreparedContainer, trace: Option<TraceParent>) -> HeldSpec {
    let spec = &prepared.spec;
    let mut env = spec.env.clone();
    let is_set = |name: &str| spec.env.iter().any(|(known, _)| known == name);
    let (uid, _) = spec.user;
    if !is_set("HOME") {
        let home = if uid == 0 { "/root" } else { HOME };
        env.push(("HOME".to_owned(), home.to_owned()));
    }
    // The manifest's variables take precedence.
    let name = BUILDER_TRACEPARENT.name;
    let trace = trace.filter(|_| !is_set(name));
    env.extend(trace.map(|trace| (name.to_owned(), trace.to_string())));
    let mut tmpfs = HashMap::new();
    if uid != 0 {
        // A writable home, without a shell to create it.
        tmpfs.insert(HOME.to_owned(), "exec,mode=1777".to_owned());
    }
    HeldSpec {
        image: spec.image.to_string(),
        platform: spec.platform.clone(),
        env,
        user: Some(spec.user),
        groups: spec.groups.clone(),
        workdir: Some(step.container.script_dir.clone()),
        labels: spec.labels.clone(),
        binds: spec.binds.clone(),
        volumes_from: spec.volumes_from.clone(),
        tmpfs,
        network: spec.network.clone(),
        memory: spec.memory,
        nano_cpus: spec.nano_cpus,
        files: prepared.config.files.clone(),
        ..HeldSpec::default()
    }
}
