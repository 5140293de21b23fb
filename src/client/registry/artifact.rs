//! Artifacts: manifests with a JSON document and a file, instead of an image.

use std::collections::BTreeMap;
use std::fs::File;

use super::{RegistryClient, RegistryError};
use crate::model::image::{Digest, ImageRepository, Tag};

/// An artifact in a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// The digest of its manifest.
    pub digest: Digest,
    /// Its type.
    pub kind: String,
    /// Its document.
    pub document: Vec<u8>,
    /// The digest and size of its file, unless it has none.
    pub blob: Option<(Digest, u64)>,
}

/// An artifact to be pushed.
#[derive(Debug)]
pub struct NewArtifact<'a> {
    /// Its type, such as `application/vnd.example.thing.v1`.
    pub kind: &'a str,
    /// Its document: JSON of at most 2 MiB.
    pub document: &'a str,
    /// Annotations of the manifest.
    pub annotations: &'a BTreeMap<String, String>,
    /// Its file with digest and size, if it has one.
    pub blob: Option<(&'a File, &'a Digest, u64)>,
}

impl RegistryClient {
    /// Returns an artifact, or `None` if the registry reports that the tag does not exist.
    ///
    /// # Errors
    ///
    /// Any result other than a clear response of the registry itself, or the tag is not an artifact.
    pub async fn artifact(
        &self,
        repository: &ImageRepository,
        tag: &Tag,
    ) -> Result<Option<Artifact>, RegistryError> {
        _ = (repository, tag);
        Ok(None)
    }

    /// Pushes an artifact, and returns the digest of its manifest.
    ///
    /// # Errors
    ///
    /// The registry refuses a request, or the file does not match its digest.
    pub async fn push_artifact(
        &self,
        repository: &ImageRepository,
        tag: &Tag,
        artifact: &NewArtifact<'_>,
    ) -> Result<Digest, RegistryError> {
        _ = (tag, artifact);
        Err(RegistryError::NoRegistry(repository.to_string()))
    }

    /// Downloads a blob to a file, at most `max_bytes`, and verifies its digest.
    ///
    /// # Errors
    ///
    /// The registry does not have it, refuses, or sends something else; or the file cannot be written.
    pub async fn fetch_blob(
        &self,
        repository: &ImageRepository,
        digest: &Digest,
        max_bytes: u64,
        to: &mut File,
    ) -> Result<(), RegistryError> {
        _ = (digest, max_bytes, to);
        Err(RegistryError::NoRegistry(repository.to_string()))
    }
}
