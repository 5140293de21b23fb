//! The images of needed services that an image is built from.

use super::Context;
use super::stop::{StepError, Stop};
use crate::client::engine::ImageContent;
use crate::image::ImageReference;
use crate::plan::{ImageStep, NeededImage};

/// The needed images, as the engine had them when the build began.
pub struct UsedImages(Vec<(NeededImage, ImageContent)>);

impl UsedImages {
    /// Looks at the needed images of a build.
    ///
    /// # Errors
    ///
    /// An image that the engine does not have: the build would ask a registry for whatever has that name there.
    pub async fn find(context: &Context, step: &ImageStep) -> Result<Self, Stop> {
        let mut used = Vec::new();
        for need in &step.needs {
            let found = content(context, &need.image).await?;
            used.push((need.clone(), found));
        }
        Ok(Self(used))
    }

    /// Checks that the image with that id was built from these images and no others. `base` is the image that its
    /// Dockerfile starts from, where that is known.
    ///
    /// # Errors
    ///
    /// An image that was built from something else.
    pub async fn check(
        &self,
        context: &Context,
        name: &ImageReference,
        id: &str,
        base: Option<&ImageReference>,
    ) -> Result<(), Stop> {
        for (need, used) in &self.0 {
            let service = &need.service;
            if content(context, &need.image).await?.id != used.id {
                let error = StepError::plain(format!(
                    "the image of `{service}` was replaced in the engine while {name} was built from it"
                ));
                return Err(error
                    .hint("another build was running: run `xp build` again")
                    .into());
            }
            if base != Some(&need.image) {
                continue;
            }
            let built = context
                .engine
                .content_of_id(id)
                .await
                .map_err(StepError::from)?;
            let layers = built.map(|built| built.layers).unwrap_or_default();
            if !layers.starts_with(&used.layers) {
                let error = StepError::plain(format!(
                    "the engine built {name} from another image than {}: its layers do not start with those of \
                     `{service}`",
                    need.image
                ));
                return Err(error
                    .hint("nothing was tagged; `xp doctor` shows the engine, whose version belongs in a bug report")
                    .into());
            }
        }
        Ok(())
    }
}

async fn content(context: &Context, image: &ImageReference) -> Result<ImageContent, Stop> {
    let found = context.engine.content(image).await;
    let gone = || {
        StepError::plain(format!("the engine no longer has the needed image {image}"))
            .hint("it was removed after the plan was made: run `xp build` again")
    };
    Ok(found.map_err(StepError::from)?.ok_or_else(gone)?)
}
