//! Reads what is attached to an image, and judges it.

use super::AttestError;
use crate::client::cosign::{Cosign, PublicKey};
use crate::client::registry::{AttachedLayer, RegistryClient, RegistryError};
use crate::model::image::{Digest, ImageRepository};
use crate::model::supply::{
    DSSE_TYPE, Envelope, Expected, Finding, IN_TOTO_TYPE, PAYLOAD_TYPE, ProvenanceCandidate,
    SIGNATURE_ANNOTATION, SIGNATURE_ARTIFACT, SignatureCandidate, Statement, cosign_tag,
    judge_provenance, judge_signature, payload_digest, signed_bytes,
};

/// The largest document that is read, in bytes: anyone who can push can attach anything.
const LARGEST: u64 = 4 * 1024 * 1024;

/// The largest number of documents of an image that are read.
const MOST: usize = 50;

/// Judges images.
pub struct Verifier<'v> {
    pub registry: &'v RegistryClient,
    /// The key that must have signed them; `None` if no signature is required.
    pub signing: Option<(&'v Cosign, &'v PublicKey)>,
}

impl Verifier<'_> {
    /// Judges the signatures of an image. Without a key, it counts as verified.
    ///
    /// # Errors
    ///
    /// Whether it is signed cannot be known.
    pub async fn signature(
        &self,
        repository: &ImageRepository,
        digest: &Digest,
    ) -> Result<Finding, AttestError> {
        let Some((cosign, key)) = self.signing else {
            return Ok(Finding::Verified);
        };
        let mut layers = Vec::new();
        if let Some(tag) = cosign_tag(digest, "sig") {
            let signed = self.registry.attachment(&repository.tagged(tag)).await?;
            layers.extend(signed.into_iter().flat_map(|it| it.layers));
        }
        let mut candidates = Vec::new();
        self.read_signatures(cosign, key, repository, layers, &mut candidates)
            .await?;
        let finding = judge_signature(digest, &candidates);
        if finding == Finding::Verified {
            return Ok(finding);
        }
        // Newer versions of cosign can attach signatures by the referrers API.
        let attached = self.registry.attachments(repository, digest).await?;
        let signatures = attached.into_iter();
        let signatures = signatures.filter(|it| it.kind == SIGNATURE_ARTIFACT);
        let layers = signatures.flat_map(|it| it.layers).collect();
        self.read_signatures(cosign, key, repository, layers, &mut candidates)
            .await?;
        Ok(judge_signature(digest, &candidates))
    }

    async fn read_signatures(
        &self,
        cosign: &Cosign,
        key: &PublicKey,
        repository: &ImageRepository,
        layers: Vec<AttachedLayer>,
        candidates: &mut Vec<SignatureCandidate>,
    ) -> Result<(), AttestError> {
        for layer in documents(layers, PAYLOAD_TYPE) {
            let Some(signature) = layer.annotations.get(SIGNATURE_ANNOTATION) else {
                continue;
            };
            let payload = self.registry.attached_document(repository, &layer).await?;
            candidates.push(SignatureCandidate {
                digest: payload_digest(&payload),
                is_by_key: cosign.is_signed(key, &payload, signature).await?,
            });
        }
        Ok(())
    }

    /// Judges the provenance of an image.
    ///
    /// # Errors
    ///
    /// What is attached cannot be known.
    pub async fn provenance(
        &self,
        repository: &ImageRepository,
        digest: &Digest,
        expected: &Expected,
    ) -> Result<Finding, AttestError> {
        let attached = self.registry.attachments(repository, digest).await?;
        let layers = attached.into_iter().flat_map(|it| it.layers).collect();
        let mut candidates = self.read_provenance(repository, layers).await?;
        let finding = judge_provenance(digest, expected, &candidates);
        if finding == Finding::Verified || self.signing.is_none() {
            return Ok(finding);
        }
        // Where cosign attaches it.
        let Some(tag) = cosign_tag(digest, "att") else {
            return Ok(finding);
        };
        let attested = self.registry.attachment(&repository.tagged(tag)).await?;
        let layers = attested.into_iter().flat_map(|it| it.layers).collect();
        candidates.extend(self.read_provenance(repository, layers).await?);
        Ok(judge_provenance(digest, expected, &candidates))
    }

    async fn read_provenance(
        &self,
        repository: &ImageRepository,
        layers: Vec<AttachedLayer>,
    ) -> Result<Vec<ProvenanceCandidate>, AttestError> {
        let mut found = Vec::new();
        for layer in documents(layers.clone(), IN_TOTO_TYPE) {
            let document = self.registry.attached_document(repository, &layer).await?;
            found.extend(
                Statement::parse(&document).map(|statement| ProvenanceCandidate {
                    statement,
                    is_by_key: self.signing.map(|_| false),
                }),
            );
        }
        for layer in documents(layers, DSSE_TYPE) {
            let document = self.registry.attached_document(repository, &layer).await?;
            let Ok(envelope) = serde_json::from_slice::<Envelope>(&document) else {
                continue;
            };
            let Some(document) = envelope.document() else {
                continue;
            };
            if let Some(statement) = Statement::parse(&document) {
                let is_by_key = self.is_by_key(&envelope, &document).await?;
                found.push(ProvenanceCandidate {
                    statement,
                    is_by_key,
                });
            }
        }
        Ok(found)
    }

    async fn is_by_key(
        &self,
        envelope: &Envelope,
        document: &[u8],
    ) -> Result<Option<bool>, AttestError> {
        let Some((cosign, key)) = self.signing else {
            return Ok(None);
        };
        let signed = signed_bytes(&envelope.payload_type, document);
        for signature in envelope.signatures().take(MOST) {
            if cosign.is_signed(key, &signed, signature).await? {
                return Ok(Some(true));
            }
        }
        Ok(Some(false))
    }
}

/// Returns the documents of a type that are worth reading.
fn documents(layers: Vec<AttachedLayer>, media_type: &str) -> impl Iterator<Item = AttachedLayer> {
    let layers = layers.into_iter();
    layers
        .filter(move |layer| layer.media_type == media_type && layer.size <= LARGEST)
        .take(MOST)
}

/// Returns the images that an index lists; empty if it is an image itself. `None` if the registry does not have it.
///
/// # Errors
///
/// Any result other than a clear response of the registry.
pub async fn platforms(
    registry: &RegistryClient,
    repository: &ImageRepository,
    digest: &Digest,
) -> Result<Option<Vec<Digest>>, RegistryError> {
    let stored = registry
        .stored(&repository.with_digest(digest.clone()))
        .await?;
    Ok(stored.map(|stored| {
        let images = stored.children.into_iter().filter(|child| child.is_image);
        images.map(|child| child.digest).collect()
    }))
}
