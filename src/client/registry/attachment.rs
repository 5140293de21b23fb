//! Attachments: manifests that describe an image, such as provenance, by naming it as their subject.
//!
//! Signatures are found by tags as cosign sets them, in every registry; everything else by `referrers`.

use std::collections::BTreeMap;

use bytes::Bytes;
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::artifact::{Descriptor, EMPTY, MANIFEST, bytes_stream};
use super::host::RegistryHost;
use super::manifest::RawManifest;
use super::referrers::ROUNDS;
use super::resource::{Access, Resource};
use super::{RegistryClient, RegistryError, sha256};
use crate::model::image::{Digest, ImageReference, ImageRepository, Tag};

/// The media type of an image's configuration.
const CONFIGURATION: &str = "application/vnd.oci.image.config.v1+json";

/// A manifest that describes an image, or that contains its signatures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    pub digest: Digest,
    /// The type, such as `application/vnd.in-toto+json`.
    pub kind: String,
    /// The image that it describes, if it says so.
    pub subject: Option<Digest>,
    pub layers: Vec<AttachedLayer>,
}

/// A document in an attachment.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AttachedLayer {
    #[serde(default)]
    pub media_type: String,
    pub digest: Digest,
    #[serde(default)]
    pub size: u64,
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
}

/// A document to be attached.
#[derive(Debug, Clone, Copy)]
pub struct NewAttachment<'a> {
    /// The media type of the document, which is the type of the attachment as well.
    pub media_type: &'a str,
    pub content: &'a [u8],
    /// Annotations of the document.
    pub annotations: &'a BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AttachedManifest {
    artifact_type: Option<String>,
    config: Option<AttachedLayer>,
    #[serde(default)]
    layers: Vec<AttachedLayer>,
    subject: Option<AttachedLayer>,
}

impl RegistryClient {
    /// Returns everything that names an image as its subject, with one request for the list and one for each of them.
    ///
    /// # Errors
    ///
    /// Any result other than a clear response of the registry itself.
    pub async fn attachments(
        &self,
        repository: &ImageRepository,
        subject: &Digest,
    ) -> Result<Vec<Attachment>, RegistryError> {
        let listed = self.listed_referrers(repository, subject).await?;
        let mut found = Vec::new();
        for digest in listed {
            // One that was deleted meanwhile is none.
            found.extend(self.attachment(&repository.with_digest(digest)).await?);
        }
        // Anyone who can push can list anything in an index.
        found.retain(|attachment| attachment.subject.as_ref() == Some(subject));
        Ok(found)
    }

    /// Returns an attachment by digest or tag; `None` if the registry does not have it, or it is something else.
    ///
    /// # Errors
    ///
    /// Any result other than a clear response of the registry itself.
    pub async fn attachment(
        &self,
        image: &ImageReference,
    ) -> Result<Option<Attachment>, RegistryError> {
        let host = self.host(image).await?;
        let Some(found) = host.find_manifest(image).await? else {
            return Ok(None);
        };
        let Ok(manifest) = serde_json::from_slice::<AttachedManifest>(&found.bytes) else {
            return Ok(None);
        };
        let config = manifest.config.map(|config| config.media_type);
        Ok(Some(Attachment {
            digest: found.digest,
            kind: manifest.artifact_type.or(config).unwrap_or_default(),
            subject: manifest.subject.map(|subject| subject.digest),
            layers: manifest.layers,
        }))
    }

    /// Returns the media type and the bytes of an image's manifest.
    ///
    /// # Errors
    ///
    /// The registry does not have it, or does not respond.
    pub async fn manifest_bytes(
        &self,
        image: &ImageReference,
    ) -> Result<(String, Bytes), RegistryError> {
        let manifest = self.manifest(image).await?;
        Ok((manifest.media_type, manifest.bytes))
    }

    /// Returns a document of an attachment.
    ///
    /// # Errors
    ///
    /// The registry does not have it, or does not respond.
    pub async fn attached_document(
        &self,
        repository: &ImageRepository,
        layer: &AttachedLayer,
    ) -> Result<Bytes, RegistryError> {
        let host = self.host_of_repository(repository).await?;
        let resource = Resource::Blob(repository, &layer.digest);
        let reply = host.send(Method::GET, resource, Access::Pull, None).await?;
        match reply.status {
            StatusCode::OK => host.body(&reply),
            StatusCode::NOT_FOUND => Err(RegistryError::MissingBlob {
                registry: host.registry.clone(),
                repository: repository.to_string(),
                digest: layer.digest.to_string(),
            }),
            _ => Err(host.refusal(None, &reply)),
        }
    }

    /// Attaches a document to an image, and returns the digest of the attachment. Attaching the same document again
    /// changes nothing.
    ///
    /// # Errors
    ///
    /// The registry refuses a request.
    pub async fn attach(
        &self,
        repository: &ImageRepository,
        subject: &Digest,
        new: NewAttachment<'_>,
    ) -> Result<Digest, RegistryError> {
        let host = self.host_of_repository(repository).await?;
        let image = host
            .manifest(&repository.with_digest(subject.clone()))
            .await?;
        let layer = self.upload_bytes(&host, repository, new.media_type, new.content);
        let layer = layer.await?;
        let config = self
            .upload_bytes(&host, repository, EMPTY.0, EMPTY.1)
            .await?;
        let described = json!({
            "mediaType": image.media_type,
            "digest": subject,
            "size": image.bytes.len(),
        });
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": new.media_type,
            "config": descriptor(&config, None),
            "layers": [descriptor(&layer, Some(new.annotations))],
            "subject": described,
            "annotations": new.annotations,
        });
        let bytes = Bytes::from(manifest.to_string());
        let digest: Digest = sha256(&bytes)
            .parse()
            .map_err(|_| host.unexpected("its digest is invalid"))?;
        let name = repository.with_digest(digest.clone());
        let reply = host.put_manifest(&name, MANIFEST, bytes.clone()).await?;
        // A registry that lists it says so, or lists it.
        if reply.header("oci-subject") != Some(subject.as_str()) {
            let manifest = RawManifest {
                digest: digest.clone(),
                media_type: MANIFEST.to_owned(),
                bytes,
            };
            self.list_referrer(repository, subject, &manifest).await?;
        }
        Ok(digest)
    }

    /// Adds a document to the manifest of a tag, as cosign stores signatures; keeps those that are there.
    ///
    /// # Errors
    ///
    /// The registry refuses a request, or the tag is on something else.
    pub async fn add_document(
        &self,
        repository: &ImageRepository,
        tag: &Tag,
        new: NewAttachment<'_>,
    ) -> Result<(), RegistryError> {
        let host = self.host_of_repository(repository).await?;
        let layer = self
            .upload_bytes(&host, repository, new.media_type, new.content)
            .await?;
        let layer = descriptor(&layer, Some(new.annotations));
        self.add_layers(repository, tag, vec![layer]).await
    }

    /// Adds layers that the registry has to the manifest of a tag, as cosign stores signatures; keeps those that are there.
    pub(super) async fn add_layers(
        &self,
        repository: &ImageRepository,
        tag: &Tag,
        new: Vec<Value>,
    ) -> Result<(), RegistryError> {
        let host = self.host_of_repository(repository).await?;
        let name = repository.tagged(tag.clone());
        for _ in 0..ROUNDS {
            let mut layers = match host.find_manifest(&name).await? {
                Some(found) => layers_of(&host, &name, &found.bytes)?,
                None => Vec::new(),
            };
            // Also looks again after writing: another run may have replaced it.
            let missing = new.iter().filter(|layer| !layers.contains(layer));
            let missing: Vec<Value> = missing.cloned().collect();
            if missing.is_empty() {
                return Ok(());
            }
            layers.extend(missing);
            let digests: Vec<&Value> = layers.iter().map(|layer| &layer["digest"]).collect();
            let configuration = json!({
                "architecture": "",
                "created": "0001-01-01T00:00:00Z",
                "os": "",
                "config": {},
                "rootfs": { "type": "layers", "diff_ids": digests },
            });
            let configuration = configuration.to_string();
            let config =
                self.upload_bytes(&host, repository, CONFIGURATION, configuration.as_bytes());
            let manifest = json!({
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": descriptor(&config.await?, None),
                "layers": layers,
            });
            let bytes = Bytes::from(manifest.to_string());
            host.put_manifest(&name, MANIFEST, bytes).await?;
        }
        Err(host.unexpected(&format!("{name} was replaced each time it was written")))
    }

    async fn upload_bytes(
        &self,
        host: &RegistryHost,
        repository: &ImageRepository,
        media_type: &str,
        content: &[u8],
    ) -> Result<Descriptor, RegistryError> {
        let content = Bytes::copy_from_slice(content);
        let blob = Descriptor::of(host, media_type.to_owned(), &content)?;
        let open = move || bytes_stream(content.clone());
        self.upload(host, repository, &blob, &open).await?;
        Ok(blob)
    }
}

fn descriptor(blob: &Descriptor, annotations: Option<&BTreeMap<String, String>>) -> Value {
    let mut value = json!({
        "mediaType": blob.media_type,
        "digest": blob.digest,
        "size": blob.size,
    });
    if let Some(annotations) = annotations.filter(|it| !it.is_empty()) {
        value["annotations"] = json!(annotations);
    }
    value
}

/// Returns the layers of a manifest that cosign wrote.
pub(super) fn layers_of(
    host: &RegistryHost,
    name: &ImageReference,
    bytes: &[u8],
) -> Result<Vec<Value>, RegistryError> {
    let manifest: Option<Value> = serde_json::from_slice(bytes).ok();
    let layers = manifest.as_ref().and_then(|it| it["layers"].as_array());
    layers
        .cloned()
        .ok_or_else(|| host.unexpected(&format!("{name} is not an image manifest")))
}
