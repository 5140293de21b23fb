//! Base images: records which ones a build uses, and pulls them again for `--refresh-bases` and `docker.bases: track`.
//!
//! The engine builds from the images that it has, in every kind of engine and image store: needed images must come
//! from there. So the others are pulled into it before the build.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::OnceCell;

use super::ExecuteContext;
use super::publish::pull;
use super::step_error::{StepError, Stop};
use crate::base::error::chain;
use crate::client::engine::ImageContent;
use crate::model::dockerfile::external_images;
use crate::model::event::{Event, Unit};
use crate::model::image::{Digest, ImageReference};
use crate::model::plan::{BaseDigests, BaseUse, ImageStep};

/// The time limit for the digest of an image that the engine will pull; without it, nothing is recorded.
const USED_TIMEOUT: Duration = Duration::from_secs(5);

/// The base images that this run queried: each one only once.
#[derive(Default)]
pub struct RefreshedBases {
    /// Those that the engine has now.
    pulled: BaseCells,
    /// Those that builds pull by themselves.
    queried: BaseCells,
}

/// The digests of base images, by name; `None` if it is unknown or the image is in no registry.
#[derive(Default)]
struct BaseCells(Mutex<HashMap<ImageReference, Arc<OnceCell<Option<Digest>>>>>);

/// Provides the base images of a build, and returns their digests for its label; `None` if they are unknown
/// or not recorded.
///
/// # Errors
///
/// If the newest base images are needed and a registry does not respond, or an image cannot be pulled.
pub async fn provide(
    context: &ExecuteContext,
    unit: &Unit,
    step: &ImageStep,
    dockerfile: &str,
) -> Result<Option<BaseDigests>, Stop> {
    match step.bases {
        BaseUse::Unrecorded => Ok(None),
        BaseUse::Recorded => used(context, step, dockerfile).await,
        BaseUse::Tracked | BaseUse::Refreshed => {
            let bases = refresh(context, unit, step, dockerfile).await?;
            Ok(Some(bases))
        }
    }
}

/// Returns the base images under tags that can move: their full names, and those by which the engine has them.
fn moving_bases(step: &ImageStep, dockerfile: &str) -> BTreeMap<ImageReference, ImageReference> {
    let is_needed = |image: &ImageReference| {
        let mut needs = step.needs.iter();
        needs.any(|need| need.image.familiar_name() == image.familiar_name())
    };
    let images = external_images(dockerfile, &step.args, step.target.as_deref());
    let images = images.into_iter().filter(|image| !is_needed(image));
    let images = images.chain(step.builders.iter().cloned());
    // A digest does not move.
    let moving = images.filter(|image| image.digest().is_none());
    moving.map(|image| (image.with_defaults(), image)).collect()
}

/// Makes sure that the engine has the newest image of each base, and returns their digests. Images that are in no
/// registry are left out.
async fn refresh(
    context: &ExecuteContext,
    unit: &Unit,
    step: &ImageStep,
    dockerfile: &str,
) -> Result<BaseDigests, Stop> {
    let mut digests = BaseDigests::new();
    for (image, name) in moving_bases(step, dockerfile) {
        let refreshed = context.bases.pulled.cell(&image);
        let newest = || newest(context, unit, (&image, &name), step.bases);
        let digest = refreshed.get_or_try_init(newest).await?;
        digests.extend(digest.clone().map(|digest| (image, digest)));
    }
    Ok(digests)
}

/// Returns the digests of the base images that a build will use; `None` unless all of them are known: those of a build for
/// another platform than the engine's own are not.
async fn used(
    context: &ExecuteContext,
    step: &ImageStep,
    dockerfile: &str,
) -> Result<Option<BaseDigests>, Stop> {
    let bases = moving_bases(step, dockerfile);
    // For another platform, BuildKit takes the image that the tag has now, which may be of another index.
    if !bases.is_empty() && !context.is_own_platform(step.platform.as_ref()) {
        return Ok(None);
    }
    let mut digests = BaseDigests::new();
    for (image, name) in bases {
        let found = tokio::select! {
            found = used_digest(context, (&image, &name)) => found,
            () = context.cancel.cancelled() => return Err(Stop::Cancelled),
        };
        match found {
            Some(digest) => _ = digests.insert(image, digest),
            None => return Ok(None),
        }
    }
    Ok(Some(digests))
}

/// Returns the digest of the image that a build will use: the engine's, or the registry's if it will be pulled.
async fn used_digest(
    context: &ExecuteContext,
    (image, name): (&ImageReference, &ImageReference),
) -> Option<Digest> {
    let content = context.engine.content(name).await.ok()?;
    let known = content.map(|content| digests_in(&content, image));
    if let Some([digest]) = known.as_deref() {
        return Some(digest.clone());
    }
    // Without a digest, it was built here.
    if known.as_ref().is_some_and(Vec::is_empty) {
        return None;
    }
    let queried = context.bases.queried.cell(image);
    let query = async {
        let query = context.registry.digest(image);
        let queried = tokio::time::timeout(USED_TIMEOUT, query).await.ok()?;
        queried.ok().flatten()
    };
    let digest = queried.get_or_init(|| query).await.clone()?;
    let is_used = known.is_none_or(|known| known.contains(&digest));
    is_used.then_some(digest)
}

/// Returns the digests that an image of the engine has in its repository.
pub fn digests_in(content: &ImageContent, image: &ImageReference) -> Vec<Digest> {
    let names = content.digests.iter();
    let names = names.filter_map(|name| name.parse::<ImageReference>().ok());
    let names = names.map(|name| name.with_defaults());
    let own = names.filter(|name| name.repository() == image.repository());
    own.filter_map(|name| name.digest().cloned()).collect()
}

impl BaseCells {
    fn cell(&self, image: &ImageReference) -> Arc<OnceCell<Option<Digest>>> {
        let mut cells = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(cells.entry(image.clone()).or_default())
    }
}

/// Pulls an image unless the engine has the one that its registry has. Returns the digest; `None` if only the engine
/// has the image.
async fn newest(
    context: &ExecuteContext,
    unit: &Unit,
    (image, name): (&ImageReference, &ImageReference),
    bases: BaseUse,
) -> Result<Option<Digest>, Stop> {
    let queried = tokio::select! {
        queried = context.registry.digest(image) => queried,
        () = context.cancel.cancelled() => return Err(Stop::Cancelled),
    };
    let content = context.engine.content(name).await;
    let content = content.map_err(StepError::from)?;
    let digest = match (queried, &content) {
        (Ok(digest), _) => digest,
        // The label names the image that is used, so the next build finds out whether it moved.
        (Err(error), Some(content)) if bases == BaseUse::Tracked => {
            let error = chain(&error).replace("\n  cause: ", ": ");
            context.events.emit(Event::note(format!(
                "{unit}: built from the engine's base image {image}, which may not be the newest: {error}"
            )));
            return Ok(digests_in(content, image).pop());
        }
        (Err(error), _) => {
            let option = match bases {
                BaseUse::Tracked => "docker.bases: track",
                _ => "--refresh-bases",
            };
            let failed = StepError::from(error).hint(format!(
                "`{option}` needs the registry of the base image {image}; without it, the engine's image is used"
            ));
            return Err(failed.into());
        }
    };
    let Some(digest) = digest else {
        if content.is_some() {
            context.events.emit(Event::note(format!(
                "{unit}: the base image {image} is only in the engine, so it was not refreshed"
            )));
        }
        return Ok(None);
    };
    if !content.is_some_and(|content| content.ids().contains(digest.as_str())) {
        pull(context, unit, image, Some(&digest)).await?;
    }
    Ok(Some(digest))
}
