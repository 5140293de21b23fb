//! The step that attaches provenance to an image.

use std::collections::BTreeMap;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{AttestError, platforms};
use crate::client::engine::ImageContent;
use crate::client::registry::NewAttachment;
use crate::execute::ExecuteContext;
use crate::execute::state::{Published, UnitState};
use crate::execute::step_error::{StepError, Stop};
use crate::model::event::{Event, Unit};
use crate::model::image::{Digest, ImageReference};
use crate::model::plan::ProvenanceStep;
use crate::model::supply::{
    DSSE_TYPE, Envelope, IN_TOTO_TYPE, PREDICATE_ANNOTATION, PREDICATE_TYPE, ProvenanceFacts,
    ResourceDescriptor, SIGNATURE_ANNOTATION, cosign_tag, image_uri, signed_bytes, statement,
};

/// The annotation of cosign with the type of the predicate.
const COSIGN_PREDICATE: &str = "predicateType";

/// Attaches provenance to the image that was pushed. An image that another run pushed has the provenance of that run.
pub async fn provenance(
    context: &ExecuteContext,
    unit: &Unit,
    step: &ProvenanceStep,
    state: &UnitState,
) -> Result<(), Stop> {
    let Some(published) = &state.published else {
        let text = format!("the registry does not report the digest of {}", step.image);
        return Err(StepError::plain(text).into());
    };
    if published.is_adopted {
        context.events.emit(Event::note(format!(
            "{unit}: another run pushed the image, so its provenance is that of the other run"
        )));
        return Ok(());
    }
    tokio::select! {
        attached = attach(context, step, published, state) => attached.map_err(Stop::from),
        () = context.cancel.cancelled() => Err(Stop::Cancelled),
    }
}

async fn attach(
    context: &ExecuteContext,
    step: &ProvenanceStep,
    published: &Published,
    state: &UnitState,
) -> Result<(), StepError> {
    let (registry, repository) = (&context.registry, step.image.repository());
    let digest = &published.digest;
    let described = registry
        .describe(&repository.with_digest(digest.clone()))
        .await?;
    let images = platforms(registry, repository, digest).await?;
    let digests: Vec<Digest> = std::iter::once(digest.clone())
        .chain(images.into_iter().flatten())
        .collect();
    let started = state.started.filter(|_| step.is_built);
    let facts = ProvenanceFacts {
        repository,
        digests: &digests,
        service: step.service.as_str(),
        source: &step.source,
        reference: step.reference.as_deref(),
        path: step.path.as_deref(),
        manifest: context.attest.manifest.as_ref(),
        labels: &described.labels,
        platforms: described.images.iter().map(|it| &it.labels).collect(),
        images: used_images(context, step, state).await?,
        documents: state
            .attached
            .iter()
            .map(|it| ResourceDescriptor::document(&it.name, &it.media_type, &it.digest))
            .collect(),
        builder: &context.attest.builder,
        version: env!("CARGO_PKG_VERSION"),
        invocation: &context.attest.invocation,
        started: started.and_then(text),
        finished: text(OffsetDateTime::now_utc()),
    };
    let document = statement(&facts).to_string().into_bytes();
    Ok(store(context, step, digest, &document).await?)
}

/// Stores a statement, signed if there are keys.
async fn store(
    context: &ExecuteContext,
    step: &ProvenanceStep,
    digest: &Digest,
    document: &[u8],
) -> Result<(), AttestError> {
    let (registry, repository) = (&context.registry, step.image.repository());
    let annotations =
        BTreeMap::from([(PREDICATE_ANNOTATION.to_owned(), PREDICATE_TYPE.to_owned())]);
    let Some((keys, (cosign, _))) = step.keys.as_ref().zip(context.attest.signing.as_ref()) else {
        let new = NewAttachment {
            media_type: IN_TOTO_TYPE,
            content: document,
            annotations: &annotations,
        };
        registry.attach(repository, digest, new).await?;
        return Ok(());
    };
    let signed = signed_bytes(IN_TOTO_TYPE, document);
    let signature = cosign.sign(&keys.key, &signed).await?;
    let envelope = Envelope::new(IN_TOTO_TYPE, document, &signature).text();
    let new = NewAttachment {
        media_type: DSSE_TYPE,
        content: envelope.as_bytes(),
        annotations: &annotations,
    };
    registry.attach(repository, digest, new).await?;
    // cosign looks for attestations under a tag.
    let annotations = BTreeMap::from([
        (SIGNATURE_ANNOTATION.to_owned(), String::new()),
        (COSIGN_PREDICATE.to_owned(), PREDICATE_TYPE.to_owned()),
    ]);
    if let Some(tag) = cosign_tag(digest, "att") {
        let new = NewAttachment {
            annotations: &annotations,
            ..new
        };
        registry.add_document(repository, &tag, new).await?;
    }
    Ok(())
}

/// Describes the images that the build used, apart from base images.
async fn used_images(
    context: &ExecuteContext,
    step: &ProvenanceStep,
    state: &UnitState,
) -> Result<Vec<ResourceDescriptor>, StepError> {
    let mut described = Vec::new();
    for used in &step.used {
        let platform = used.platform.as_ref();
        let image = state.toolchain(&used.image, platform);
        let found = context.engine_of(platform).content(&image).await?;
        described.push(describe(&used.purpose, &image, found.as_ref()));
    }
    for need in &step.needs {
        let purpose = format!("image of {}", need.service);
        let found = context.engine.content(&need.image).await?;
        // The engine does not know the digest of every image that it pushed.
        let identity = match &need.identity {
            Some(identity) => context.registry.digest(identity).await?,
            None => None,
        };
        let is_same = |digest: &Digest| {
            let ids = found.as_ref().map(ImageContent::ids);
            ids.is_none_or(|ids| ids.contains(digest.as_str()))
        };
        described.push(match identity.filter(is_same) {
            Some(digest) => ResourceDescriptor::image(purpose, &need.image, &digest),
            None => describe(&purpose, &need.image, found.as_ref()),
        });
    }
    Ok(described)
}

/// Describes an image by its digest in its registry, or else by its ID in the engine.
fn describe(
    purpose: &str,
    image: &ImageReference,
    content: Option<&ImageContent>,
) -> ResourceDescriptor {
    let Some(content) = content else {
        return ResourceDescriptor {
            name: Some(purpose.to_owned()),
            uri: Some(image_uri(image, None)),
            ..ResourceDescriptor::default()
        };
    };
    let names = [
        image.repository().to_string(),
        image.repository().familiar_name(),
        image.with_defaults().repository().to_string(),
    ];
    let digests = content.digests.iter();
    let digest = digests
        .filter_map(|name| name.split_once('@'))
        .find(|(name, _)| names.iter().any(|known| known == name))
        .and_then(|(_, digest)| digest.parse::<Digest>().ok());
    match digest {
        Some(digest) => ResourceDescriptor::image(purpose, image, &digest),
        None => ResourceDescriptor::engine_image(purpose, image, &content.id),
    }
}

fn text(time: OffsetDateTime) -> Option<String> {
    time.replace_nanosecond(0).ok()?.format(&Rfc3339).ok()
}
