//! Results of phases: what a phase with a given key produced, so that no machine has to run it again. Pure.

mod document;
mod key;

use std::collections::BTreeMap;

pub use key::StepKey;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::image::Digest;
use crate::model::recipe::{LABEL_REVISION, LABEL_SERVICE};

/// The artifact type of a result in a registry, and the start of the media types of its parts.
pub const STEP_ARTIFACT: &str = "application/vnd.x-platform.step.v1";

/// The annotation with the name of the phase.
const ANNOTATION_PHASE: &str = "x-platform.phase";

/// The result of a phase that succeeded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StepResult {
    /// The digest of everything that the phase depends on.
    pub key: StepKey,
    /// The service that the phase ran for. Another one with the same key has the same result.
    pub service: String,
    /// The name of the phase.
    pub phase: String,
    /// The commit that it ran on.
    pub commit: String,
    /// When it was saved, in seconds since 1970.
    pub saved_at: u64,
    /// How long the phase ran.
    pub seconds: f64,
    /// The parts of the key: name, and value or digest. They are published with the result.
    pub parts: Vec<(String, String)>,
    /// The archive of the outputs, unless the phase has none and only its success counts.
    pub outputs: Option<OutputsBlob>,
}

/// The archive of a phase's outputs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OutputsBlob {
    /// The digest of the compressed archive.
    pub digest: Digest,
    /// The size of the compressed archive.
    pub bytes: u64,
    /// The total size of the files in it.
    pub unpacked_bytes: u64,
    /// The number of files, folders and links in it.
    pub files: u64,
}

impl StepResult {
    /// Returns the annotations of the artifact, for people and other tools; xp reads the document.
    pub fn annotations(&self) -> BTreeMap<String, String> {
        BTreeMap::from([
            (LABEL_SERVICE.to_owned(), self.service.clone()),
            (ANNOTATION_PHASE.to_owned(), self.phase.clone()),
            (LABEL_REVISION.to_owned(), self.commit.clone()),
        ])
    }
}

#[cfg(test)]
mod tests;
