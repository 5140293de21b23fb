//! The payload that the signature of an image signs.

use serde::Deserialize;
use serde_json::json;

use crate::model::image::{Digest, ImageRepository};

/// The media type of the payload.
pub const PAYLOAD_TYPE: &str = "application/vnd.dev.cosign.simplesigning.v1+json";

/// The annotation of a payload with its signature, in base64.
pub const SIGNATURE_ANNOTATION: &str = "dev.cosignproject.cosign/signature";

#[derive(Deserialize)]
struct Payload {
    critical: Critical,
}

#[derive(Deserialize)]
struct Critical {
    image: SignedImage,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct SignedImage {
    docker_manifest_digest: Digest,
}

const KIND: &str = "cosign container image signature";

/// Returns the payload for an image.
pub fn payload(repository: &ImageRepository, digest: &Digest) -> Vec<u8> {
    let payload = json!({
        "critical": {
            "identity": { "docker-reference": repository.to_string() },
            "image": { "docker-manifest-digest": digest.as_str() },
            "type": KIND,
        },
        "optional": null,
    });
    payload.to_string().into_bytes()
}

/// Returns the digest of the image that a payload is for; `None` if it is not such a payload.
pub fn payload_digest(payload: &[u8]) -> Option<Digest> {
    let payload: Payload = serde_json::from_slice(payload).ok()?;
    let is_known = payload.critical.kind == KIND;
    is_known.then_some(payload.critical.image.docker_manifest_digest)
}
