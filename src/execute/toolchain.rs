//! The images that scripts for another platform than the engine's own run in.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::Mutex;

use super::bases::digests_in;
use super::publish::{RECHECK_TIMEOUT, has, or_existing, pull_for, transfer_as};
use super::state::UnitState;
use super::step_error::{StepError, Stop};
use super::{ExecuteContext, image, platforms};
use crate::client::engine::Engine;
use crate::model::event::Unit;
use crate::model::image::{Digest, ImageReference, Platform};
use crate::model::plan::{ImageStep, ToolchainStep};

/// The images that this run provided in an engine: their names there, by those of the plan.
#[derive(Clone, Default)]
pub struct Toolchains(Arc<Mutex<BTreeMap<ProvidedImage, ImageReference>>>);

/// The image and platform of a step, and whether it is the newest one.
type ProvidedImage = (ImageReference, Platform, bool);

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
    let (image, platform) = (step.image.clone(), step.platform.clone());
    let key = (image.clone(), platform.clone(), step.is_refreshed);
    let name = match (provided.get(&key), &step.build) {
        (Some(name), _) => name.clone(),
        (None, Some(build)) => {
            provide_built(context, unit, step, build).await?;
            step.image.clone()
        }
        (None, None) => pull(context, unit, step).await?,
    };
    provided.insert(key, name.clone());
    state.toolchain_names.insert((image, platform), name);
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
    let is_in_engine = has(own, &step.image).await?;
    // An earlier push may have failed.
    if is_in_engine && !step.is_pushed {
        return Ok(());
    }
    let has_registry = step.image.repository().registry().is_some();
    if has_registry && is_in_registry(context, &step.image).await? {
        if is_in_engine {
            return Ok(());
        }
        return pull_for(own, unit, &step.image, &step.platform).await;
    }
    if !is_in_engine {
        image::build(context, unit, build, &UnitState::default()).await?;
    }
    if !step.is_pushed {
        return Ok(());
    }
    let pushed = transfer_as(own, unit, &own.engine, &step.image).await;
    let existing = async {
        let found = tokio::time::timeout(RECHECK_TIMEOUT, is_in_registry(context, &step.image));
        if !matches!(found.await, Ok(Ok(true))) {
            return Ok(None);
        }
        let pulled = pull_for(own, unit, &step.image, &step.platform).await;
        pulled.map(Some)
    };
    or_existing(pushed, existing).await
}

async fn is_in_registry(context: &ExecuteContext, image: &ImageReference) -> Result<bool, Stop> {
    tokio::select! {
        found = context.registry.digest(image) => Ok(found.map_err(StepError::from)?.is_some()),
        () = context.cancel.cancelled() => Err(Stop::Cancelled),
    }
}

/// Provides the image of a registry, and returns its name in the engine: an engine has one image per name, so that of
/// another platform is named by its digest.
async fn pull(
    context: &ExecuteContext,
    unit: &Unit,
    step: &ToolchainStep,
) -> Result<ImageReference, Stop> {
    let own = context.on(Some(&step.platform));
    let in_engine = InEngine::of(context, step).await?;
    if !step.is_refreshed && in_engine == InEngine::Current {
        return Ok(step.image.clone());
    }
    let name = tokio::select! {
        name = find(context, step) => name,
        () = context.cancel.cancelled() => return Err(Stop::Cancelled),
    };
    let name = match name {
        // Images that were built in both engines have nothing in common, and no registry has them.
        Err(error) if in_engine == InEngine::Other && !step.is_refreshed => {
            let image = step.image.with_defaults();
            match is_in_registry(context, &image).await {
                Err(Stop::Cancelled) => return Err(Stop::Cancelled),
                Ok(true) => return Err(error.into()),
                Ok(false) | Err(Stop::Failed(_)) => return Ok(step.image.clone()),
            }
        }
        name => name?,
    };
    if !has(own, &name).await? {
        pull_for(own, unit, &name, &step.platform).await?;
    }
    Ok(name)
}

/// What the engine of a platform has under the name of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum InEngine {
    /// No image for the platform.
    Nothing,
    /// An image for the platform, of another index than the usual engine's.
    Other,
    /// The image for the platform of the same index.
    Current,
}

impl InEngine {
    async fn of(context: &ExecuteContext, step: &ToolchainStep) -> Result<Self, StepError> {
        let (engine, image) = (&context.on(Some(&step.platform)).engine, &step.image);
        let platform = engine.platform_of_id(&image.to_string()).await?;
        if platform.as_ref() != Some(&step.platform) {
            return Ok(Self::Nothing);
        }
        if image.digest().is_some() {
            return Ok(Self::Current);
        }
        let full = image.with_defaults();
        let digests = async |engine: &Engine| {
            let content = engine.content(image).await?;
            Ok::<_, StepError>(content.map_or_else(Vec::new, |it| digests_in(&it, &full)))
        };
        let (own, usual) = (digests(engine).await?, digests(&context.engine).await?);
        Ok(if is_same_index(&own, &usual) {
            Self::Current
        } else {
            Self::Other
        })
    }
}

/// Returns whether images with these digests in their repository are from the same index. Without a digest, the usual
/// engine's image was built there, and no registry has it.
fn is_same_index(own: &[Digest], usual: &[Digest]) -> bool {
    usual.is_empty() || own.iter().any(|digest| usual.contains(digest))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_of_another_index_is_not_current() {
        let digest = |digit: &str| format!("sha256:{}", digit.repeat(64)).parse().unwrap();
        let (old, new): (Digest, Digest) = (digest("1"), digest("2"));
        let is_same = |own: &[&Digest], usual: &[&Digest]| {
            let [own, usual] = [own, usual].map(|it| it.iter().copied().cloned().collect());
            let [own, usual]: [Vec<Digest>; 2] = [own, usual];
            is_same_index(&own, &usual)
        };
        assert!(is_same(&[&old], &[&old]));
        assert!(!is_same(&[&old], &[&new]));
        // An image can be part of several indexes.
        assert!(is_same(&[&new], &[&old, &new]));
        // Built in the engine of the platform, or in the usual one.
        assert!(!is_same(&[], &[&new]));
        assert!(is_same(&[], &[]));
        assert!(is_same(&[&old], &[]));
    }
}
