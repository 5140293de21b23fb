//! Pulls base images again, for `--refresh-bases`.
//!
//! The engine builds from the images that it has, in every kind of engine and image store: needed images must come
//! from there. So the others are pulled into it before the build.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OnceCell;

use super::ExecuteContext;
use super::publish::pull;
use super::step_error::{StepError, Stop};
use crate::model::dockerfile::external_images;
use crate::model::event::{Event, Unit};
use crate::model::image::{Digest, ImageReference};
use crate::model::plan::{BaseDigests, ImageStep};

/// The base images that were pulled in this run: each one only once.
#[derive(Default)]
pub struct RefreshedBases(Mutex<HashMap<ImageReference, Arc<OnceCell<Option<Digest>>>>>);

/// Makes sure that the engine has the newest image of each base, and returns their digests. Images that are in no
/// registry are left out.
///
/// # Errors
///
/// If a registry does not respond, or an image cannot be pulled.
pub async fn refresh(
    context: &ExecuteContext,
    unit: &Unit,
    step: &ImageStep,
    dockerfile: &str,
) -> Result<BaseDigests, Stop> {
    let is_needed = |image: &ImageReference| {
        let mut needs = step.needs.iter();
        needs.any(|need| need.image.familiar_name() == image.familiar_name())
    };
    let images = external_images(dockerfile, &step.args, step.target.as_deref());
    let images = images.into_iter().filter(|image| !is_needed(image));
    let mut digests = BaseDigests::new();
    for image in images.chain(step.builders.iter().cloned()) {
        // A digest does not move.
        if image.digest().is_some() {
            continue;
        }
        let image = image.with_defaults();
        let refreshed = context.bases.cell(&image);
        let newest = || newest(context, unit, &image);
        let digest = refreshed.get_or_try_init(newest).await?;
        digests.extend(digest.clone().map(|digest| (image, digest)));
    }
    Ok(digests)
}

impl RefreshedBases {
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
    image: &ImageReference,
) -> Result<Option<Digest>, Stop> {
    let queried = tokio::select! {
        queried = context.registry.digest(image) => queried,
        () = context.cancel.cancelled() => return Err(Stop::Cancelled),
    };
    let failed = |error| {
        StepError::from(error).hint(format!(
            "`--refresh-bases` needs the registry of the base image {image}; without it, the engine's image is used"
        ))
    };
    let Some(digest) = queried.map_err(failed)? else {
        let in_engine = context.engine.image(image).await;
        if in_engine.map_err(StepError::from)?.is_some() {
            context.events.emit(Event::note(format!(
                "{unit}: the base image {image} is only in the engine, so it was not refreshed"
            )));
        }
        return Ok(None);
    };
    let content = context.engine.content(image).await;
    let content = content.map_err(StepError::from)?;
    if !content.is_some_and(|content| content.ids().contains(digest.as_str())) {
        pull(context, unit, image, Some(&digest)).await?;
    }
    Ok(Some(digest))
}
