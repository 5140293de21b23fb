//! Waits for images that other runs build.

use std::time::Instant;

use super::ExecuteContext;
use super::state::UnitState;
use super::step_error::{StepError, Stop};
use crate::base::units;
use crate::client::registry::RegistryError;
use crate::client::retry::{Policy, random};
use crate::model::image::Digest;
use crate::model::plan::{AwaitStep, Equivalence};

/// Waits until the registry has the image, and records its digest.
pub async fn find(
    context: &ExecuteContext,
    step: &AwaitStep,
    state: &mut UnitState,
) -> Result<(), Stop> {
    let found = tokio::select! {
        found = poll(context, step) => found?,
        () = context.cancel.cancelled() => return Err(Stop::Cancelled),
    };
    state.awaited = Some(found);
    Ok(())
}

async fn poll(context: &ExecuteContext, step: &AwaitStep) -> Result<Digest, StepError> {
    let start = Instant::now();
    for attempt in 1.. {
        let failure = match pushed(context, step).await {
            Ok(Some(digest)) => return Ok(digest),
            Ok(None) => None,
            Err(error) if is_temporary(&error) => Some(error),
            Err(error) => return Err(error.into()),
        };
        let spent = start.elapsed();
        let Some(left) = step.limit.checked_sub(spent).filter(|it| !it.is_zero()) else {
            return Err(failure.map_or_else(|| missing(step), StepError::from));
        };
        let wait = Policy::AWAITED_IMAGE.wait(attempt, random(), None, spent);
        tokio::time::sleep(wait.unwrap_or(left).min(left)).await;
    }
    Err(missing(step))
}

/// Returns the digest of the image, if it has been pushed.
async fn pushed(
    context: &ExecuteContext,
    step: &AwaitStep,
) -> Result<Option<Digest>, RegistryError> {
    let Some(digest) = context.registry.digest(&step.image).await? else {
        return Ok(None);
    };
    if step.replaced.as_ref() == Some(&digest) {
        return Ok(None);
    }
    if step.wanted != Equivalence::Any {
        let image = step.image.repository().with_digest(digest.clone());
        let found = context.registry.describe(&image).await?;
        if !step.wanted.accepts(&found.labels) {
            return Ok(None);
        }
    }
    Ok(Some(digest))
}

/// Returns whether the registry may answer later. The client has retried already, but a registry that restarts must not
/// end a wait of an hour.
fn is_temporary(error: &RegistryError) -> bool {
    error
        .status()
        .is_none_or(|(status, _)| status >= 500 || matches!(status, 408 | 429))
}

fn missing(step: &AwaitStep) -> StepError {
    let AwaitStep {
        image,
        owner,
        limit,
        ..
    } = step;
    let limit = units::limit(*limit);
    StepError::plain(format!("{owner} has not pushed {image} within {limit}"))
        .hint(format!(
            "check the log of {owner}, and run this part again after it has pushed the image"
        ))
        .hint("give all parts the same options and commits: other inputs result in another tag")
        .hint("`--shard-wait` sets the limit")
}
