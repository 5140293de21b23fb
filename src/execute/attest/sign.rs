//! The step that signs an image.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{AttestError, Verifier, platforms};
use crate::client::cosign::Cosign;
use crate::client::registry::{NewAttachment, RegistryClient};
use crate::execute::ExecuteContext;
use crate::execute::state::{Published, UnitState};
use crate::execute::step_error::{StepError, Stop};
use crate::model::image::{Digest, ImageRepository};
use crate::model::plan::SignStep;
use crate::model::supply::{Finding, PAYLOAD_TYPE, SIGNATURE_ANNOTATION, cosign_tag, payload};

/// How long to wait until another run has signed the image that it pushed.
const PATIENCE: Duration = Duration::from_secs(90);

/// The delay between two looks.
const PAUSE: Duration = Duration::from_secs(2);

/// Signs the image that was pushed, and the images of its platforms, unless this key has signed them. An image that
/// another run pushed is never signed, because only that run knows what is in it: it must have its own signature.
pub async fn sign(
    context: &ExecuteContext,
    step: &SignStep,
    state: &UnitState,
) -> Result<(), Stop> {
    let published = pushed(step, state)?;
    tokio::select! {
        signed = sign_all(context, step, published) => signed.map_err(Stop::from),
        () = context.cancel.cancelled() => Err(Stop::Cancelled),
    }
}

fn pushed<'s>(step: &SignStep, state: &'s UnitState) -> Result<&'s Published, StepError> {
    let missing = || {
        StepError::plain(format!(
            "the registry does not report the digest of {}",
            step.image
        ))
    };
    state.published.as_ref().ok_or_else(missing)
}

async fn sign_all(
    context: &ExecuteContext,
    step: &SignStep,
    published: &Published,
) -> Result<(), StepError> {
    let repository = step.image.repository();
    let (registry, tools) = (&context.registry, &context.attest);
    let Some((cosign, key)) = &tools.signing else {
        return Err(StepError::plain("`cosign` was not looked for"));
    };
    let verifier = Verifier {
        registry,
        signing: Some((cosign, key)),
    };
    let images = platforms(registry, repository, &published.digest).await?;
    let digests = std::iter::once(published.digest.clone()).chain(images.into_iter().flatten());
    for digest in digests {
        if published.is_adopted {
            wait(&verifier, step, &digest).await?;
            continue;
        }
        if verifier.signature(repository, &digest).await? != Finding::Verified {
            sign_one(registry, cosign, step, repository, &digest).await?;
        }
    }
    Ok(())
}

async fn sign_one(
    registry: &RegistryClient,
    cosign: &Cosign,
    step: &SignStep,
    repository: &ImageRepository,
    digest: &Digest,
) -> Result<(), AttestError> {
    let payload = payload(repository, digest);
    let signature = cosign.sign(&step.keys.key, &payload).await?;
    let annotations = BTreeMap::from([(SIGNATURE_ANNOTATION.to_owned(), signature)]);
    let new = NewAttachment {
        media_type: PAYLOAD_TYPE,
        content: &payload,
        annotations: &annotations,
    };
    if let Some(tag) = cosign_tag(digest, "sig") {
        registry.add_document(repository, &tag, new).await?;
    }
    Ok(())
}

/// Waits until the run that pushed an image has signed it.
async fn wait(verifier: &Verifier<'_>, step: &SignStep, digest: &Digest) -> Result<(), StepError> {
    let (repository, end) = (step.image.repository(), Instant::now() + PATIENCE);
    loop {
        let finding = verifier.signature(repository, digest).await?;
        if finding == Finding::Verified {
            return Ok(());
        }
        if Instant::now() >= end {
            let error = StepError::plain(format!(
                "another run pushed {repository}@{digest} first, and its signature does not verify: {finding}"
            ));
            return Err(error.hint(
                "if that run was killed, `xp build --force` pushes and signs an image of this run",
            ));
        }
        sleep(PAUSE).await;
    }
}
