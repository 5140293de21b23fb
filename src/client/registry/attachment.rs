//! Attachments: manifests that describe an image, such as provenance, by naming it as their subject.
//!
//! Registries list them by the referrers API of OCI 1.1. Where it is missing, they are in an index with the tag
//! `sha256-<digits>`, which clients update. Signatures are found by tags as cosign sets them, in every registry.

use std::collections::BTreeMap;

use bytes::Bytes;
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::artifact::{Descriptor, EMPTY, MANIFEST, bytes_stream};
use super::error::is_not_found_message;
use super::host::RegistryHost;
use super::index::INDEX;
use super::resource::{Access, Resource};
use super::{RegistryClient, RegistryError, sha256};
use crate::model::image::{Digest, ImageReference, ImageRepository, Tag};

/// The media type of an image's configuration.
const CONFIGURATION: &str = "application/vnd.oci.image.config.v1+json";

/// How often an index or manifest that others write too is read and written.
const ROUNDS: usize = 5;

/// The largest number of attachments of an image that are read.
const MAX_ATTACHMENTS: usize = 200;

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
        let listed = match self.referrers(repository, subject).await? {
            Some(listed) => listed,
            None => {
                let Some(tag) = referrers_tag(subject) else {
                    return Ok(Vec::new());
                };
                let index = self.stored(&repository.tagged(tag)).await?;
                let children = index.into_iter().flat_map(|index| index.children);
                children.map(|child| child.digest).collect()
            }
        };
        let mut found = Vec::new();
        for digest in listed.into_iter().take(MAX_ATTACHMENTS) {
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
        let Some(bytes) = manifest_bytes(&host, image).await? else {
            return Ok(None);
        };
        let Ok(manifest) = serde_json::from_slice::<AttachedManifest>(&bytes) else {
            return Ok(None);
        };
        let digest = sha256(&bytes).parse();
        let config = manifest.config.map(|config| config.media_type);
        Ok(Some(Attachment {
            digest: digest.map_err(|_| host.unexpected("its digest is invalid"))?,
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
        let (manifest, _) = self.manifest(image).await?;
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
        let (image, _) = self
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
        let listed = put(&host, &name, MANIFEST, bytes.clone()).await?;
        // A registry that lists it says so, or lists it.
        if listed.as_deref() == Some(subject.as_str())
            || matches!(self.referrers(repository, subject).await?, Some(listed) if listed.contains(&digest))
        {
            return Ok(digest);
        }
        let entry = json!({
            "mediaType": MANIFEST,
            "digest": digest,
            "size": bytes.len(),
            "artifactType": new.media_type,
            "annotations": new.annotations,
        });
        let tag = referrers_tag(subject);
        let tag = tag.ok_or_else(|| host.unexpected("its digest is invalid"))?;
        list(&host, &repository.tagged(tag), entry).await?;
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
        let name = repository.tagged(tag.clone());
        for _ in 0..ROUNDS {
            let mut layers = match manifest_bytes(&host, &name).await? {
                Some(bytes) => layers_of(&host, &name, &bytes)?,
                None => Vec::new(),
            };
            // Also looks again after writing: another run may have replaced it.
            if layers.contains(&layer) {
                return Ok(());
            }
            layers.push(layer.clone());
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
            put(&host, &name, MANIFEST, Bytes::from(manifest.to_string())).await?;
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

/// Returns the tag of the index that lists what describes an image.
fn referrers_tag(subject: &Digest) -> Option<Tag> {
    let (algorithm, digits) = subject.as_str().split_once(':')?;
    format!("{algorithm}-{digits}").parse().ok()
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
fn layers_of(
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

/// Adds an entry to the index of a tag, and looks again afterwards: another run may have replaced it.
async fn list(
    host: &RegistryHost,
    name: &ImageReference,
    entry: Value,
) -> Result<(), RegistryError> {
    for _ in 0..ROUNDS {
        let mut index = match manifest_bytes(host, name).await? {
            Some(bytes) => serde_json::from_slice(&bytes).unwrap_or_default(),
            None => json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [] }),
        };
        let Some(manifests) = index["manifests"].as_array_mut() else {
            return Err(host.unexpected(&format!("{name} is not an index")));
        };
        if manifests.iter().any(|it| it["digest"] == entry["digest"]) {
            return Ok(());
        }
        manifests.push(entry.clone());
        put(host, name, INDEX, Bytes::from(index.to_string())).await?;
    }
    Err(host.unexpected(&format!("{name} was replaced each time it was written")))
}

/// Returns a manifest; `None` if the registry itself reports that it does not exist.
async fn manifest_bytes(
    host: &RegistryHost,
    image: &ImageReference,
) -> Result<Option<Bytes>, RegistryError> {
    let resource = Resource::Manifest(image);
    let reply = host.send(Method::GET, resource, Access::Pull, None).await?;
    match reply.status {
        StatusCode::OK => Ok(Some(host.body(&reply)?)),
        StatusCode::NOT_FOUND if is_not_found_message(&reply.text()) => Ok(None),
        StatusCode::NOT_FOUND => {
            let what = "the 404 does not come from a registry, perhaps from a proxy";
            Err(host.unexpected(what))
        }
        _ => Err(host.refusal(None, &reply)),
    }
}

/// Stores a manifest, and returns the image that the registry lists it for.
async fn put(
    host: &RegistryHost,
    name: &ImageReference,
    media_type: &str,
    bytes: Bytes,
) -> Result<Option<String>, RegistryError> {
    let (resource, body) = (Resource::Manifest(name), Some((media_type, bytes)));
    let reply = host.send(Method::PUT, resource, Access::Push, body).await?;
    if !reply.status.is_success() {
        return Err(host.refusal(Some(name), &reply));
    }
    Ok(reply.header("oci-subject").map(str::to_owned))
}
