//! Images of platforms: the engine that builds each of them, and the index of all of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::ExecuteContext;
use super::identity::Publication;
use super::publish::{RECHECK_TIMEOUT, or_existing, transfer_as};
use super::step_error::{StepError, Stop};
use crate::client::engine::Engine;
use crate::model::dockerfile::first_run;
use crate::model::event::{DockerfileLine, Event};
use crate::model::image::{Digest, ImageReference, Labels, Platform};
use crate::model::plan::{IndexSource, IndexStep, Step};

/// The time limit for the platforms of a base image.
const QUERY_TIMEOUT: Duration = Duration::from_secs(10);

/// The contexts of the engines that build for other platforms.
pub type PlatformEngines = BTreeMap<Platform, Arc<ExecuteContext>>;

impl ExecuteContext {
    /// Returns the context of the engine that builds for a platform.
    pub fn on(&self, platform: Option<&Platform>) -> &Self {
        let other = platform.and_then(|platform| self.engines.get(platform));
        other.map_or(self, Arc::as_ref)
    }

    /// Returns the engine that builds the image of a platform.
    pub fn engine_of(&self, platform: Option<&Platform>) -> &Engine {
        &self.on(platform).engine
    }

    /// Returns whether the image of a platform is built by the engine that runs everything else, and for its own
    /// platform.
    pub fn is_own_platform(&self, platform: Option<&Platform>) -> bool {
        platform.is_none_or(|platform| {
            !self.engines.contains_key(platform) && self.facts.platform().as_ref() == Some(platform)
        })
    }
}

/// Fails if an engine cannot build images for another platform.
pub fn check(context: &ExecuteContext, steps: &[Step]) -> Result<(), StepError> {
    let images = steps.iter().filter_map(|step| match step {
        Step::Image(step) => step.platform.as_ref(),
        _ => None,
    });
    for platform in images {
        let engine = context.engine_of(Some(platform));
        if let Some((why, hint)) = engine.no_buildkit_reason() {
            let text = format!("`docker.platforms` requires BuildKit, but {why}");
            return Err(StepError::plain(text).hint(hint));
        }
    }
    Ok(())
}

/// Fails if the engine cannot run the instructions of a Dockerfile for a platform. `located` describes a line of it.
pub async fn check_emulation(
    context: &ExecuteContext,
    platform: &Platform,
    dockerfile: &str,
    located: impl FnOnce(usize) -> DockerfileLine,
) -> Result<(), StepError> {
    let Some(line) = first_run(dockerfile) else {
        return Ok(());
    };
    let what = "the instructions of the Dockerfile";
    let Some(error) = cannot_run(context.on(Some(platform)), platform, what).await? else {
        return Ok(());
    };
    Err(error.at(Some(located(line))).hint(
        "or build with `FROM --platform=$BUILDPLATFORM`, and only copy files in the last stage",
    ))
}

/// Fails if an engine cannot run scripts for a platform.
pub async fn check_scripts(context: &ExecuteContext, platform: &Platform) -> Result<(), StepError> {
    let Some(error) = cannot_run(context, platform, "the scripts").await? else {
        return Ok(());
    };
    Err(error.hint(
        "or set `scripts.once: true` if what the scripts write is the same for all platforms: they then run on the engine's own platform",
    ))
}

/// Returns the error if an engine cannot run programs of a platform.
async fn cannot_run(
    context: &ExecuteContext,
    platform: &Platform,
    what: &str,
) -> Result<Option<StepError>, StepError> {
    let own = context.facts.platform();
    if own.as_ref() == Some(platform) || context.engine.build_platforms().await?.contains(platform)
    {
        return Ok(None);
    }
    let own = own.map_or_else(|| "another platform".to_owned(), |own| own.to_string());
    let error = StepError::plain(format!(
        "the engine is for {own}, and cannot run {what} for {platform}"
    ));
    Ok(Some(error
        .hint(format!(
            "set an engine of that platform: `engines: {{{platform}: CONTEXT}}`"
        ))
        .hint("or install its emulator on the engine's machine and restart the engine: the package qemu-user-static, or `docker run --privileged --rm tonistiigi/binfmt --install all`")))
}

/// Fails if a registry has a base image for other platforms only: BuildKit would build from one of these. What is unknown
/// is left to the build.
pub async fn check_bases(
    context: &ExecuteContext,
    platform: &Platform,
    bases: BTreeMap<ImageReference, usize>,
    located: impl Fn(usize) -> DockerfileLine,
) -> Result<(), StepError> {
    // The engine's own images are for its own platform.
    if context.is_own_platform(Some(platform)) {
        return Ok(());
    }
    for (base, line) in bases {
        let image = base.with_defaults();
        let query = context.registry.platform_digests(&image);
        let Ok(Ok(found)) = tokio::time::timeout(QUERY_TIMEOUT, query).await else {
            continue;
        };
        if found.is_empty() || found.iter().any(|(it, _)| it == platform) {
            continue;
        }
        let found: Vec<String> = found.iter().map(|(it, _)| it.to_string()).collect();
        let error = StepError::plain(format!(
            "the base image {base} does not exist for {platform}, only for {}",
            found.join(", ")
        ));
        return Err(error.at(Some(located(line))).hint(format!(
            "use a base image for all platforms, or remove {platform} from `docker.platforms`"
        )));
    }
    Ok(())
}

/// Fails if the image that was built is for another platform: that of a base image.
pub async fn check_built(engine: &Engine, id: &str, platform: &Platform) -> Result<(), StepError> {
    let built = engine.platform_of_id(id).await?;
    match built {
        Some(built) if built != *platform => {
            let error = StepError::plain(format!(
                "the image that was built for {platform} is for {built}"
            ));
            Err(error.hint(format!(
                "a base image of the Dockerfile does not exist for {platform}, or `FROM --platform` names another one"
            )))
        }
        _ => Ok(()),
    }
}

/// Pushes the images of an index that were built, writes the index without a tag, and returns its digest.
pub async fn push_index(it: Publication<'_>, index: &IndexStep) -> Result<Digest, Stop> {
    let repository = it.step.image.repository();
    let mut images = Vec::new();
    for entry in &index.images {
        let digest = match &entry.source {
            IndexSource::Kept(digest) => digest.clone(),
            IndexSource::Built(image) => push_image(it, &entry.platform, image).await?,
        };
        images.push((entry.platform.clone(), digest));
    }
    let written = it.context.registry.put_index(repository, &images).await;
    Ok(written.map_err(StepError::from)?)
}

/// Pushes the image of one platform, and returns its digest.
async fn push_image(
    it: Publication<'_>,
    platform: &Platform,
    image: &ImageReference,
) -> Result<Digest, Stop> {
    let context = it.context;
    let engine = context.engine_of(Some(platform));
    let own = engine.image(image).await.map_err(StepError::from)?;
    let wanted = &it.step.concurrent.wanted;
    // Another run on the same engine removes the name after it has pushed its image.
    if !own.is_some_and(|own| wanted.accepts(&own.labels)) {
        let error = StepError::plain(format!("another run replaced or removed {image}"));
        let error = error.hint("several runs are building it concurrently: run xp again");
        return Err(error.superseded().into());
    }
    let pushed = transfer_as(context, it.unit, engine, image).await;
    let existing = async { Ok(existing_image(it, platform, image).await.map(Some)) };
    if let Some(existing) = or_existing(pushed.map(|()| None), existing).await? {
        return Ok(existing);
    }
    match image_in_registry(it, platform, image).await? {
        Some((digest, labels)) if wanted.accepts(&labels) => Ok(digest),
        Some(_) => {
            let error =
                StepError::plain(format!("{image} in the registry is not the pushed image"));
            Err(error
                .hint("another run pushed at the same time: run xp again")
                .into())
        }
        None => {
            let text =
                format!("the registry does not have {image} for {platform}, which was pushed");
            Err(StepError::plain(text).into())
        }
    }
}

/// Returns the digest of an equivalent image of a platform that an earlier run pushed without its index, or another run
/// at the same time. Errors are ignored: the push has its own.
async fn existing_image(
    it: Publication<'_>,
    platform: &Platform,
    image: &ImageReference,
) -> Option<Digest> {
    // The index that lists it may have to be replaced.
    if it.step.force || !it.step.rejected.is_empty() {
        return None;
    }
    let found = image_in_registry(it, platform, image);
    let found = tokio::time::timeout(RECHECK_TIMEOUT, found).await;
    let (digest, labels) = found.ok()?.ok()??;
    if !it.accepts(&labels) {
        return None;
    }
    it.context.events.emit(Event::note(format!(
        "{}: another run pushed {image} first, from the same inputs; using its image",
        it.unit
    )));
    Some(digest)
}

/// Returns the digest and the labels of the registry's image of a platform with that name.
async fn image_in_registry(
    it: Publication<'_>,
    platform: &Platform,
    image: &ImageReference,
) -> Result<Option<(Digest, Labels)>, StepError> {
    let registry = &it.context.registry;
    let Some(digest) = registry.digest(image).await? else {
        return Ok(None);
    };
    let by_digest = image.repository().with_digest(digest.clone());
    let described = registry.describe(&by_digest).await?;
    let found = described.for_platform(&digest, platform);
    Ok(found.map(|(digest, labels)| (digest.clone(), labels.clone())))
}

/// Removes the names under which the images of platforms were pushed: the engine needs only its own platform's image.
pub async fn remove_names(context: &ExecuteContext, index: &IndexStep) {
    for (platform, image) in index.built() {
        let removed = context.engine_of(Some(platform)).remove_name(image).await;
        if let Err(error) = removed
            && error.status() != Some(404)
        {
            context
                .events
                .emit(Event::note(format!("{image} stays in the engine: {error}")));
        }
    }
}
