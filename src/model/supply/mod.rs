//! What describes images and vouches for them: provenance, signatures, and the verdict on both. Pure.
//!
//! The formats are those of other tools: provenance is an in-toto statement with a SLSA predicate, a signed one is in a
//! DSSE envelope, and signatures sign the payload that cosign signs.

mod envelope;
mod payload;
mod provenance;
mod resource;
mod results;
mod sbom;
#[cfg(test)]
mod tests;
mod verdict;

pub use envelope::{DSSE_TYPE, Envelope, signed_bytes};
pub use payload::{PAYLOAD_TYPE, SIGNATURE_ANNOTATION, payload, payload_digest};
pub use provenance::{
    BUILDER, IN_TOTO_TYPE, ManifestOrigin, PREDICATE_ANNOTATION, PREDICATE_TYPE, ProvenanceFacts,
    Statement, statement,
};
pub use resource::{ResourceDescriptor, image_uri, source_uri};
pub use results::{ImageVerdict, VerifyResults, schema};
pub use sbom::{is_sbom_type, sbom_type, sha256_digest};
pub use verdict::{
    Expected, Finding, ProvenanceCandidate, SignatureCandidate, UnknownCause, judge_provenance,
    judge_signature,
};

use crate::model::image::{Digest, Tag};

/// The media type and artifact type of signatures.
pub const SIGNATURE_ARTIFACT: &str = "application/vnd.dev.cosign.artifact.sig.v1+json";

/// Returns the tag under which cosign looks for what is attached to an image: `sha256-<digits>.<suffix>`.
pub fn cosign_tag(subject: &Digest, suffix: &str) -> Option<Tag> {
    let (algorithm, digits) = subject.as_str().split_once(':')?;
    format!("{algorithm}-{digits}.{suffix}").parse().ok()
}
