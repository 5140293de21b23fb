//! The JSON document of a result, in `.xp/steps` and in registries.

use serde::{Deserialize, Serialize};

use super::{OutputsBlob, StepResult};
use crate::model::image::Digest;

/// The version of the document. A document of another version is not read.
const VERSION: u64 = 1;

/// The maximum length of a document: an artifact's manifest contains it in base64, and registries limit manifests to
/// 4 MiB.
const MAX_LENGTH: usize = 2 * 1024 * 1024;

/// The maximum length of the service, the phase and the commit.
const MAX_NAME: usize = 256;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    version: u64,
    key: String,
    service: String,
    phase: String,
    commit: String,
    saved_at: u64,
    seconds: f64,
    parts: Vec<(String, String)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    outputs: Option<Outputs>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Outputs {
    digest: Digest,
    bytes: u64,
    unpacked_bytes: u64,
    files: u64,
}

impl StepResult {
    /// Returns the document.
    pub fn to_json(&self) -> String {
        let outputs = self.outputs.as_ref().map(|blob| Outputs {
            digest: blob.digest.clone(),
            bytes: blob.bytes,
            unpacked_bytes: blob.unpacked_bytes,
            files: blob.files,
        });
        let document = Document {
            version: VERSION,
            key: self.key.to_string(),
            service: self.service.clone(),
            phase: self.phase.clone(),
            commit: self.commit.clone(),
            saved_at: self.saved_at,
            seconds: self.seconds,
            parts: self.parts.clone(),
            outputs,
        };
        // Only maps with other keys than text cannot be serialized.
        serde_json::to_string(&document).unwrap_or_default()
    }

    /// Parses a document. Returns `None` if it is not one, or of another version: then the phase runs.
    ///
    /// Documents come from registries, so no text in it is trusted, except that names have no control characters.
    pub fn from_json(text: &[u8]) -> Option<Self> {
        if text.len() > MAX_LENGTH {
            return None;
        }
        let document: Document = serde_json::from_slice(text).ok()?;
        let names = [&document.service, &document.phase, &document.commit];
        let are_names = names.into_iter().all(|name| is_name(name));
        let are_parts_named = document.parts.iter().all(|(name, _)| is_name(name));
        let is_duration = document.seconds >= 0.0 && document.seconds.is_finite();
        if document.version != VERSION || !are_names || !are_parts_named || !is_duration {
            return None;
        }
        let outputs = document.outputs.map(|outputs| OutputsBlob {
            digest: outputs.digest,
            bytes: outputs.bytes,
            unpacked_bytes: outputs.unpacked_bytes,
            files: outputs.files,
        });
        // Other algorithms are not verified.
        if let Some(blob) = &outputs {
            let digits = blob.digest.as_str().strip_prefix("sha256:")?;
            (digits.len() == 64).then_some(())?;
        }
        Some(Self {
            key: document.key.parse().ok()?,
            service: document.service,
            phase: document.phase,
            commit: document.commit,
            saved_at: document.saved_at,
            seconds: document.seconds,
            parts: document.parts,
            outputs,
        })
    }
}

fn is_name(text: &str) -> bool {
    text.len() <= MAX_NAME && !text.contains(char::is_control)
}
