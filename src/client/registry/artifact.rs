//! Artifacts: manifests with a JSON document and a file, instead of an image.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use reqwest::{Method, StatusCode};
use serde::{Deserialize, Serialize};

use super::host::RegistryHost;
use super::resource::{Access, Resource};
use super::upload::{Attempt, BlobContent, BlobUpload};
use super::{RegistryClient, RegistryError, sha256};
use crate::base::task::joined;
use crate::model::image::{Digest, ImageRepository, Tag};

/// The media type of the manifest.
pub(super) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// The media type and the content that stand for no file: a manifest must have at least one.
pub(super) const EMPTY: (&str, &[u8]) = ("application/vnd.oci.empty.v1+json", b"{}");

/// The number of bytes that are read at once.
const CHUNK: usize = 256 * 1024;

/// An artifact in a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// The digest of its manifest.
    pub digest: Digest,
    /// Its document.
    pub document: Vec<u8>,
    /// The digest and size of its file, if it has one.
    pub blob: Option<(Digest, u64)>,
}

/// An artifact to be pushed.
#[derive(Debug, Clone, Copy)]
pub struct NewArtifact<'a> {
    /// Its type, such as `application/vnd.example.thing.v1`.
    pub kind: &'a str,
    /// Its document: JSON of at most 2 MiB.
    pub document: &'a str,
    /// Annotations of the manifest.
    pub annotations: &'a BTreeMap<String, String>,
    /// Its file with digest and size, if it has one. The position in the file does not matter.
    pub blob: Option<(&'a File, &'a Digest, u64)>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    schema_version: u64,
    #[serde(default)]
    media_type: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    artifact_type: Option<String>,
    config: Descriptor,
    #[serde(default)]
    layers: Vec<Descriptor>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    pub media_type: String,
    pub digest: Digest,
    pub size: u64,
    /// The content in base64, so that the manifest is the only request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    data: Option<String>,
}

impl RegistryClient {
    /// Returns the artifact of a tag, with one request, or `None` if the registry reports that the tag does not exist or
    /// is not an artifact of this kind.
    ///
    /// # Errors
    ///
    /// Any result other than a clear response of the registry itself.
    pub async fn artifact(
        &self,
        repository: &ImageRepository,
        tag: &Tag,
        kind: &str,
    ) -> Result<Option<Artifact>, RegistryError> {
        let host = self.host_of_repository(repository).await?;
        let name = repository.tagged(tag.clone());
        let Some(found) = host.find_manifest(&name).await? else {
            return Ok(None);
        };
        let Ok(manifest) = serde_json::from_slice::<Manifest>(&found.bytes) else {
            return Ok(None);
        };
        let is_kind = manifest.artifact_type.as_deref() == Some(kind)
            || manifest.config.media_type == document_type(kind);
        if !is_kind {
            return Ok(None);
        }
        let document = match manifest.config.content() {
            Some(document) => document,
            None => read_document(&host, repository, &manifest.config.digest).await?,
        };
        let blob = manifest.layers.into_iter().next();
        let blob = blob.filter(|blob| blob.media_type != EMPTY.0);
        Ok(Some(Artifact {
            digest: found.digest,
            document,
            blob: blob.map(|blob| (blob.digest, blob.size)),
        }))
    }

    /// Pushes an artifact, and returns the digest of its manifest. Blobs that the registry has are not sent.
    ///
    /// # Errors
    ///
    /// The registry refuses a request, or the file does not match its digest.
    pub async fn push_artifact(
        &self,
        repository: &ImageRepository,
        tag: &Tag,
        artifact: NewArtifact<'_>,
    ) -> Result<Digest, RegistryError> {
        let host = self.host_of_repository(repository).await?;
        let document = Bytes::copy_from_slice(artifact.document.as_bytes());
        let config = Descriptor::of(&host, document_type(artifact.kind), &document)?;
        let (layer, open): (_, Box<OpenBlob>) = match artifact.blob {
            Some((file, digest, size)) => {
                let file = file.try_clone().map_err(RegistryError::File)?;
                let layer = Descriptor {
                    media_type: format!("{}.tar+zstd", artifact.kind),
                    digest: digest.clone(),
                    size,
                    data: None,
                };
                let file = Arc::new(file);
                (layer, Box::new(move || file_stream(file.clone(), size)))
            }
            None => {
                let content = Bytes::from_static(EMPTY.1);
                let layer = Descriptor::of(&host, EMPTY.0.to_owned(), &content)?;
                (layer, Box::new(move || bytes_stream(content.clone())))
            }
        };
        self.upload(&host, repository, &layer, &*open).await?;
        let open = move || bytes_stream(document.clone());
        self.upload(&host, repository, &config, &open).await?;
        let mut manifest = Manifest {
            schema_version: 2,
            media_type: MANIFEST.to_owned(),
            artifact_type: Some(artifact.kind.to_owned()),
            config: Descriptor {
                data: Some(BASE64_STANDARD.encode(artifact.document)),
                ..config
            },
            layers: vec![layer],
            annotations: artifact.annotations.clone(),
        };
        let pushed = put_manifest(&host, repository, tag, &manifest).await;
        match pushed {
            // A registry that validates manifests may know only version 1.0 of the specification. Then the media type of
            // the document is the type.
            Err(RegistryError::Status { status, .. })
                if matches!(status.as_u16(), 400 | 413 | 415 | 422) =>
            {
                manifest.artifact_type = None;
                manifest.config.data = None;
                put_manifest(&host, repository, tag, &manifest).await
            }
            pushed => pushed,
        }
    }

    /// Uploads a blob unless the repository has it.
    pub(super) async fn upload(
        &self,
        host: &RegistryHost,
        repository: &ImageRepository,
        blob: &Descriptor,
        open: &OpenBlob,
    ) -> Result<(), RegistryError> {
        let upload = BlobUpload {
            client: self,
            to: repository,
            digest: &blob.digest,
            on_progress: &|_| (),
        };
        if upload.exists(host).await? {
            return Ok(());
        }
        let _permit = host.uploads.acquire().await;
        let open = || {
            let stream = open();
            async move {
                Ok::<_, Attempt<()>>(BlobContent {
                    size: blob.size,
                    stream,
                })
            }
        };
        upload.run(host, open).await
    }
}

impl Descriptor {
    pub fn of(
        host: &RegistryHost,
        media_type: String,
        content: &[u8],
    ) -> Result<Self, RegistryError> {
        let digest = sha256(content).parse();
        Ok(Self {
            media_type,
            digest: digest.map_err(|_| host.unexpected("its digest is invalid"))?,
            size: content.len() as u64,
            data: None,
        })
    }

    /// Returns the content if the descriptor contains it.
    fn content(&self) -> Option<Vec<u8>> {
        let content = BASE64_STANDARD.decode(self.data.as_ref()?).ok()?;
        (sha256(&content) == self.digest.as_str()).then_some(content)
    }
}

/// Returns the media type of the document.
fn document_type(kind: &str) -> String {
    format!("{kind}+json")
}

async fn read_document(
    host: &RegistryHost,
    repository: &ImageRepository,
    digest: &Digest,
) -> Result<Vec<u8>, RegistryError> {
    let resource = Resource::Configuration(repository, digest);
    let reply = host.send(Method::GET, resource, Access::Pull, None).await?;
    match reply.status {
        StatusCode::OK => Ok(host.body(&reply)?.to_vec()),
        StatusCode::NOT_FOUND => Err(RegistryError::MissingBlob {
            registry: host.registry.clone(),
            repository: repository.to_string(),
            digest: digest.to_string(),
        }),
        _ => Err(host.refusal(None, &reply)),
    }
}

async fn put_manifest(
    host: &RegistryHost,
    repository: &ImageRepository,
    tag: &Tag,
    manifest: &Manifest,
) -> Result<Digest, RegistryError> {
    let name = repository.tagged(tag.clone());
    // Only maps with other keys than text cannot be serialized.
    let bytes = Bytes::from(serde_json::to_vec(manifest).unwrap_or_default());
    let digest = sha256(&bytes).parse();
    host.put_manifest(&name, MANIFEST, bytes).await?;
    digest.map_err(|_| host.unexpected("its digest is invalid"))
}

/// Returns the content of a blob from its start.
pub(super) type OpenBlob = dyn Fn() -> BoxStream<'static, io::Result<Bytes>> + Send + Sync;

pub(super) fn bytes_stream(bytes: Bytes) -> BoxStream<'static, io::Result<Bytes>> {
    futures_util::stream::once(std::future::ready(Ok(bytes))).boxed()
}

/// Returns the content of a file, which is read on other threads.
fn file_stream(file: Arc<File>, size: u64) -> BoxStream<'static, io::Result<Bytes>> {
    let next = move |offset: u64| {
        let file = file.clone();
        let wanted = CHUNK.min(usize::try_from(size - offset).unwrap_or(CHUNK));
        let read = move || {
            let mut buffer = vec![0; wanted];
            let length = file.read_at(&mut buffer, offset)?;
            buffer.truncate(length);
            Ok(Bytes::from(buffer))
        };
        async move {
            if wanted == 0 {
                return Ok(None);
            }
            let chunk: io::Result<Bytes> = joined(tokio::task::spawn_blocking(read).await);
            let chunk = chunk?;
            if chunk.is_empty() {
                return Err(io::Error::other("the file was truncated"));
            }
            let end = offset + chunk.len() as u64;
            Ok(Some((chunk, end)))
        }
    };
    futures_util::stream::try_unfold(0, next).boxed()
}
