//! The images that scripts for another platform than the engine's own run in.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::Mutex;

use super::bases::digests_in;
use super::publish::{has, pull_for, transfer_as};
use super::state::UnitState;
use super::step_error::{StepError, Stop};
use super::{ExecuteContext, image, platforms};
use crate::model::event::Unit;
use crate::model::image::{Digest, ImageReference, Platform};
use crate::model::plan::{ImageStep, ToolchainStep};

/// The images that this run provided in an engine: their names there, by those of the plan.
#[derive(Clone, Default)]
pub struct Toolchains(Arc<Mutex<BTreeMap<(ImageReference, Platform), ImageReference>>>);

/// Makes sure that the engine of a platform has an image for it, and records its name there.
pub async fn provide(
    context: &ExecuteContext,
    unit: &Unit,
    step: &ToolchainStep,
    state: &mut UnitState,
) -> Result<(), Stop> {
    let own = context.on(Some(&step.platform));
    platforms::check_scripts(own, &step.platform).await?;
    // Held, because another unit may need the same image.
    let mut provided = own.toolchains.0.lock().await;
    let key = (step.image.clone(), step.platform.clone());
    let name = match (provided.get(&key), &step.build) {
        (Some(name), _) => name.clone(),
        (None, Some(build)) => {
            provide_built(context, unit, step, build).await?;
            step.image.clone()
        }
        (None, None) => pull(context, unit, step).await?,
    };
    provided.insert(key.clone(), name.clone());
    state.toolchain_names.insert(key, name);
    Ok(())
}

/// Provides the image of a folder with a Dockerfile, whose tag is that of its content.
async fn provide_built(
    context: &ExecuteContext,
    unit: &Unit,
    step: &ToolchainStep,
    build: &ImageStep,
) -> Result<(), Stop> {
    let own = context.on(Some(&step.platform));
    if has(own, &step.image).await? {
        return Ok(());
    }
    if step.image.repository().registry().is_some() {
        let found = tokio::select! {
            found = context.registry.digest(&step.image) => found.map_err(StepError::from)?,
            () = context.cancel.cancelled() => return Err(Stop::Cancelled),
        };
        if found.is_some() {
            return pull_for(own, unit, &step.image, &step.platform).await;
        }
    }
    image::build(context, unit, build, &UnitState::default()).await?;
    if step.is_pushed {
        transfer_as(own, unit, &own.engine, &step.image).await?;
    }
    Ok(())
}

/// Provides the image of a registry, and returns its name in the engine: an engine has one image per name, so that of
/// another platform is named by its digest.
async fn pull(
    context: &ExecuteContext,
    unit: &Unit,
    step: &ToolchainStep,
) -> Result<ImageReference, Stop> {
    let own = context.on(Some(&step.platform));
    let engines = own.engine.platform_of_id(&step.image.to_string()).await;
    let engines = engines.map_err(StepError::from)?;
    if !step.is_refreshed && engines.as_ref() == Some(&step.platform) {
        return Ok(step.image.clone());
    }
    let name = tokio::select! {
        name = find(context, step) => name?,
        () = context.cancel.cancelled() => return Err(Stop::Cancelled),
    };
    if !has(own, &name).await? {
        pull_for(own, unit, &name, &step.platform).await?;
    }
    Ok(name)
}

/// Returns the image of the platform by its digest: of the index that the usual engine has its image from, or else of the
/// one that the registry has now.
async fn find(context: &ExecuteContext, step: &ToolchainStep) -> Result<ImageReference, StepError> {
    let ToolchainStep {
        image, platform, ..
    } = step;
    let full = image.with_defaults();
    let named = |digest: &Digest| image.repository().with_digest(digest.clone());
    // Its registry may not have that index any more.
    if image.digest().is_none()
        && !step.is_refreshed
        && let Some(content) = context.engine.content(image).await?
        && let [index] = digests_in(&content, &full).as_slice()
        && let index = full.repository().with_digest(index.clone())
        && let Ok(found) = context.registry.platform_digests(&index).await
        && let Some((_, digest)) = found.iter().find(|(it, _)| it == platform)
    {
        return Ok(named(digest));
    }
    let found = context.registry.platform_digests(&full).await?;
    match found.iter().find(|(it, _)| it == platform) {
        Some((_, digest)) => Ok(named(digest)),
        None => Err(missing(step, &found)),
    }
}

fn missing(step: &ToolchainStep, found: &[(Platform, Digest)]) -> StepError {
    let ToolchainStep {
        image, platform, ..
    } = step;
    let others: Vec<String> = found.iter().map(|(it, _)| it.to_string()).collect();
    let others = match others.as_slice() {
        [] => String::new(),
        others => format!(", only for {}", others.join(", ")),
    };
    StepError::plain(format!(
        "the image {image}, which scripts run in, does not exist for {platform}{others}"
    ))
    .hint("use an image for all platforms")
    .hint("or set `scripts.once: true` if what the scripts write is the same for all platforms: they then run on the engine's own platform")
    .hint(format!("or remove {platform} from `docker.platforms`"))
}
