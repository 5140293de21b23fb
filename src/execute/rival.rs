//! Images that somebody else pushed first.

use std::time::Duration;

use super::Context;
use super::publish::{pull, tag_engine};
use super::stop::Stop;
use crate::event::{Event, Unit};
use crate::image::{Digest, ImageReference};
use crate::plan::{Rival, Wanted};

/// How long is looked before an image is pushed. A registry that takes longer is asked to take the image, and says
/// what is wrong.
pub const LOOK: Duration = Duration::from_secs(60);

/// How long is looked after it was refused: a registry that does not answer any more has cost time enough.
pub const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// Looks whether an image appeared in the registry since the plan was made, and takes it where it is as good as
/// the engine's own: the engine has it by all its names afterwards. Returns whether it did so.
///
/// `replaces` is what the registry had when the plan was made; a registry that gives no answer within `limit` counts
/// as one without such an image.
pub async fn adopt(
    context: &Context,
    unit: &Unit,
    image: &ImageReference,
    replaces: Option<&Digest>,
    rival: &Rival,
    limit: Duration,
) -> Result<bool, Stop> {
    let find = find(context, image, replaces, &rival.wanted);
    let found = tokio::select! {
        found = tokio::time::timeout(limit, find) => found.ok().flatten(),
        () = context.cancel.cancelled() => return Err(Stop::Cancelled),
    };
    let Some(digest) = found else {
        return Ok(false);
    };
    context.events.emit(Event::Note(format!(
        "{unit}: somebody else has just pushed {image}, built from the same: that image is taken, and not \
         overwritten by the one built here"
    )));
    pull(context, unit, image, Some(&digest)).await?;
    tag_engine(context, image, &rival.names).await?;
    Ok(true)
}

/// Returns the digest of an image that is as good. A registry that cannot tell says so to whoever pushes.
async fn find(
    context: &Context,
    image: &ImageReference,
    replaces: Option<&Digest>,
    wanted: &Wanted,
) -> Option<Digest> {
    let digest = context.registry.digest(image).await.ok()??;
    if replaces == Some(&digest) {
        return None;
    }
    if let Wanted::Built { .. } = wanted {
        let by_digest = image.repository().with_digest(digest.clone());
        let labels = context.registry.labels(&by_digest).await.ok()?;
        if !wanted.is_met_by(&labels) {
            return None;
        }
    }
    Some(digest)
}
