//! The image build step.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

use super::ExecuteContext;
use super::bases;
use super::dockerfile_hint::{dockerfile_hint, line_of_missing_image};
use super::other_dockerfiles;
use super::platforms;
use super::publish::credentials_of;
use super::secrets;
use super::state::UnitState;
use super::step_error::{StepError, Stop};
use super::used_images::UsedImages;
use crate::client::engine::{BuildWatcher, Engine, ImageBuild, dockerfile_in};
use crate::client::retry::TransientFailure;
use crate::execute::retry;
use crate::model::dockerfile::{base_image, registries, target_images};
use crate::model::event::{DockerfileLine, Event, Measure, Phase, Unit};
use crate::model::image::ImageReference;
use crate::model::plan::{BaseUse, ImageStep, bases_label};
use crate::model::recipe::{LABEL_CREATED, LABEL_SOURCE};

/// How much of a Dockerfile is searched for registries, in bytes.
const LARGEST_DOCKERFILE: u64 = 1024 * 1024;

/// An image that was built.
pub struct BuiltImage {
    /// The needed images that it was built from.
    pub used: UsedImages,
    /// Its ID; `None` if the step names no image.
    pub id: Option<String>,
}

/// Builds an image and tags it with all its names, unless it is verified first.
pub async fn build(
    context: &ExecuteContext,
    unit: &Unit,
    step: &ImageStep,
    state: &UnitState,
) -> Result<BuiltImage, Stop> {
    let used = UsedImages::find(context, unit, &step.needs).await?;
    let Some(name) = step.names.first() else {
        return Ok(BuiltImage { used, id: None });
    };
    let mut labels = step.labels.clone();
    labels.extend(used.label());
    if let Some(time) = step.commit_time.or(state.commit_time) {
        labels.insert(LABEL_CREATED.to_owned(), rfc3339(time));
    }
    let file = dockerfile_in(&step.context, &step.dockerfile);
    let dockerfile = dockerfile(&file);
    let engine = context.engine_of(step.platform.as_ref());
    let args = if context.is_own_platform(step.platform.as_ref()) {
        step.args.clone()
    } else {
        used.args_by_digest(context, &step.args).await
    };
    if let Some(platform) = &step.platform {
        let located = |line| located(context, step, &file, line);
        let bases = target_images(&dockerfile, &args, step.target.as_deref());
        platforms::check_bases(context, platform, bases, located).await?;
        platforms::check_emulation(context, platform, &dockerfile, located).await?;
    }
    let bases = bases::provide(context, unit, step, &dockerfile).await?;
    if step.bases != BaseUse::Unrecorded {
        labels.extend([bases_label(bases.as_ref())]);
    }
    let registries = registries(&dockerfile, &step.args);
    let layers = step.layers.iter().flatten();
    let of_layers = layers.filter_map(|image| image.repository().registry().cloned());
    let mut credentials = HashMap::new();
    for registry in &registries
        .iter()
        .cloned()
        .chain(of_layers)
        .collect::<BTreeSet<_>>()
    {
        if let Some(found) = credentials_of(context, registry).await? {
            credentials.insert(registry.clone(), found);
        }
    }
    secrets::warn(context, unit, step);
    let mountable = secrets::read(context, step)?;
    let redactor = secrets::redactor(step, &mountable);
    let redacted = redactor.stream();
    let show = |bytes: Bytes| {
        if !bytes.is_empty() {
            context.events.emit(Event::Output {
                unit: unit.clone(),
                phase: Phase::Image,
                bytes,
            });
        }
    };
    let output = |bytes| show(redacted.push(bytes));
    let progress = |done| {
        context.events.emit(Event::Progress {
            unit: unit.clone(),
            phase: Phase::Image,
            measure: Measure::Bytes,
            done,
            total: None,
            bytes: done,
        });
    };
    let build = ImageBuild {
        root: &step.root,
        context: &step.context,
        selected: &step.selected,
        excluded: step.excluded.as_deref(),
        dockerfile: &step.dockerfile,
        target: step.target.as_deref(),
        args: &args,
        labels: &labels,
        platform: step.platform.as_ref(),
        // The engine's base images may be older, and are for one platform.
        pulls: matches!(step.bases, BaseUse::Tracked | BaseUse::Refreshed)
            && !context.is_own_platform(step.platform.as_ref()),
        fresh: step.fresh,
        layers: step.layers.as_deref(),
        credentials,
        secrets: mountable.secrets,
        ssh_agent: mountable.ssh_agent,
    };
    let hosts: Vec<String> = registries.iter().map(ToString::to_string).collect();
    let request = format!("base images of {name}");
    let mut attempts = context.transfers.begin(hosts.join(", "), request);
    let failed_instruction = Mutex::new(None);
    let failed = |instruction| {
        let mut last = failed_instruction
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *last = Some(instruction);
    };
    let watcher = BuildWatcher {
        output: &output,
        progress: &progress,
        failed: &failed,
    };
    let id = loop {
        let built = engine.build(&build, watcher).await;
        show(redacted.end());
        let error = match built {
            Ok(id) => break id,
            Err(error) => error,
        };
        // Only failed pulls of base images are retried, not failed instructions.
        let failure = error
            .is_transient_base_error()
            .then(|| TransientFailure::new(redactor.text(&error.to_string())));
        match failure.and_then(|it| attempts.record_failure(it)) {
            Some(retrying) => retry::wait(context, unit, Phase::Image, retrying).await?,
            None => {
                let hint = if error.is_missing_dockerfile() {
                    Some(other_dockerfiles::hint(step))
                } else {
                    dockerfile_hint(&dockerfile, &error.to_string())
                };
                let instruction = failed_instruction
                    .into_inner()
                    .unwrap_or_else(PoisonError::into_inner);
                let line = match instruction {
                    Some(instruction) => instruction.line(&dockerfile),
                    None => line_of_missing_image(&dockerfile, &step.args, &error.to_string()),
                };
                let instruction = line.map(|line| located(context, step, &file, line));
                let failed = StepError::from(error).redacted(&redactor).at(instruction);
                return Err(match hint {
                    Some(hint) => failed.hint(hint),
                    None => failed,
                }
                .into());
            }
        }
    };
    attempts.record_success();
    if let Some(platform) = &step.platform {
        platforms::check_built(engine, &id, platform).await?;
    }
    let base = base_image(&dockerfile, &step.args, step.target.as_deref());
    // The layers of the base image are known for the engine's own platform only.
    let base = base.filter(|_| context.is_own_platform(step.platform.as_ref()));
    used.check(context, name, &id, base.as_ref()).await?;
    if !step.is_verified {
        name_image(engine, &id, &step.names).await?;
    }
    Ok(BuiltImage { used, id: Some(id) })
}

/// Gives an image its names.
pub async fn name_image(engine: &Engine, id: &str, names: &[ImageReference]) -> Result<(), Stop> {
    for name in names {
        if let Err(error) = engine.tag(id, name).await {
            // The containerd image store removes an image as soon as another run gives its only name to another one.
            let is_removed = error.status() == Some(404);
            let failed = StepError::from(error);
            return Err(if is_removed {
                failed.superseded()
            } else {
                failed
            }
            .into());
        }
    }
    Ok(())
}

/// Returns a line of the Dockerfile, as others can find it.
fn located(context: &ExecuteContext, step: &ImageStep, file: &Path, line: usize) -> DockerfileLine {
    let repository = step.labels.get(LABEL_SOURCE);
    let folder = match repository {
        Some(_) => &step.root,
        None => &context.folder,
    };
    let file = file.strip_prefix(folder).unwrap_or(file);
    DockerfileLine {
        file: file.display().to_string(),
        line,
        repository: repository.cloned(),
    }
}

/// Returns the text of a Dockerfile; empty if it cannot be read, which the build itself reports.
///
/// Reads only regular files, because a script may have left a pipe or a link to a device.
fn dockerfile(path: &Path) -> String {
    let mut bytes = Vec::new();
    if std::fs::metadata(path).is_ok_and(|found| found.is_file())
        && let Ok(file) = File::open(path)
    {
        _ = file.take(LARGEST_DOCKERFILE).read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Formats Unix time according to RFC 3339.
fn rfc3339(seconds: i64) -> String {
    let time = time::OffsetDateTime::from_unix_timestamp(seconds)
        .unwrap_or(time::OffsetDateTime::UNIX_EPOCH);
    time.format(&time::format_description::well_known::Rfc3339)
        .unwrap_or_default()
}
